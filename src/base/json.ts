// JSON from files that may be broken or crafted: strict UTF-8, an object at the top, bounded in what it costs before
// JSON.parse builds anything, and no key twice where that matters (JSON.parse keeps the last one silently).
import { FormatError } from './errors.ts'

export type JsonObject = Readonly<Record<string, unknown>>

/** Longest piece of a file's own text that a message repeats. */
const MAX_QUOTE = 80
/** Tokenizers nest some ten levels. Far more would exhaust the stack of whoever walks or writes the value later. */
const MAX_DEPTH = 64
/** Bytes of memory that JSON.parse takes for a list or object, for a key of one, and for any value or text. */
const [LIST_BYTES, KEY_BYTES, VALUE_BYTES] = [100, 60, 20]
/** Enough for the header of a file of 50,000 tensors. */
const MAX_BYTES = 32 * 2 ** 20
/** Gemma's vocabulary, the largest, has 262,144 tokens and 513,511 merges as lists: 124 MB of 12 M characters. */
const [MAX_GROWING_BYTES, BYTES_A_CHARACTER] = [100 * 2 ** 20, 2]

/** A list of at most so many numbers or texts is repeated. */
const MAX_ITEMS = 8

/** Text cut to a bearable length for a message. */
export const shorten = (text: string): string => (text.length > MAX_QUOTE ? `${text.slice(0, MAX_QUOTE)}…` : text)

/** Text of a file for a message: quoted, control characters escaped, cut to a bearable length. */
export const quote = (text: string): string => JSON.stringify(shorten(text))

/** Any value of a file for a message. Neither depth nor a `toString` of the file's own can make it fail. */
export function describeValue(value: unknown): string {
  if (typeof value === 'string') return quote(value)
  if (Array.isArray(value))
    return value.length <= MAX_ITEMS && value.every(item => typeof item !== 'object')
      ? shorten(`[${value.map(item => (typeof item === 'bigint' ? item : JSON.stringify(item)))}]`)
      : `a list of ${value.length}`
  return typeof value === 'object' && value !== null ? 'an object' : String(value)
}

export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * The JSON object in `bytes`.
 * @param file name for messages
 * @param what what the bytes are, for messages: 'the header', 'the file'
 * @throws FormatError where they are not UTF-8, not JSON, too deep or too many values, or not an object
 */
export function parseJsonObject(bytes: Uint8Array, file: string, what = 'the file'): JsonObject {
  return parseObject(decode(bytes, file, what), file, what)
}

/** `parseJsonObject` for short values without a key twice at any depth. @param depth levels that are allowed */
export function parseStrictJsonObject(
  bytes: Uint8Array,
  file: string,
  what = 'the file',
  depth = MAX_DEPTH,
): JsonObject {
  const text = decode(bytes, file, what)
  const value = parseObject(text, file, what, depth, MAX_BYTES)
  if (countKeys(value) < measure(text).keys)
    throw new FormatError(file, `${what} has ${quote(duplicateKey(text))} twice; every name must be there once`)
  return value
}

/** `JSON.parse` for files. @throws SyntaxError for bad JSON, and for more depth or memory than real files need */
export function parseJson(
  text: string,
  maxDepth = MAX_DEPTH,
  maxBytes = MAX_GROWING_BYTES + BYTES_A_CHARACTER * text.length,
): unknown {
  const { depth, lists, keys, values } = measure(text)
  if (depth > maxDepth) throw new SyntaxError(`it is nested ${depth} deep, allowed are ${maxDepth}`)
  if (lists * LIST_BYTES + keys * KEY_BYTES + values * VALUE_BYTES > maxBytes)
    throw new SyntaxError(`it has ${lists} lists and objects and ${values} values, too many`)
  return JSON.parse(text)
}

const AGAIN = 'it is damaged or another kind of file, download it again'

function decode(bytes: Uint8Array, file: string, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new FormatError(file, `${what} is not UTF-8 text; ${AGAIN}`, { cause })
  }
}

function parseObject(text: string, file: string, what: string, depth?: number, maxBytes?: number): JsonObject {
  let value: unknown
  try {
    value = parseJson(text, depth, maxBytes)
  } catch (cause) {
    const reason = (cause as SyntaxError).message
    throw new FormatError(file, `${what} is not JSON that we read (${quote(reason)}); ${AGAIN}`, { cause })
  }
  if (!isJsonObject(value)) throw new FormatError(file, `${what} is JSON but not an object {…}; ${AGAIN}`)
  return value
}

/** What a text would become, if it is JSON: levels; lists and objects; keys; strings and commas. */
function measure(text: string): { depth: number; lists: number; keys: number; values: number } {
  let [depth, level, lists, keys, values] = [0, 0, 0, 0, 0]
  for (let i = 0; i < text.length; i++) {
    const found = text.charCodeAt(i)
    if (found === 0x22) {
      i = stringEnd(text, i)
      values++
    } else if (found === 0x2c) values++
    else if (found === 0x3a) keys++
    else if (found === 0x7b || found === 0x5b) {
      lists++
      if (++level > depth) depth = level
    } else if (found === 0x7d || found === 0x5d) level--
  }
  return { depth, lists, keys, values }
}

/** Where the string ends that begins at `start`. */
function stringEnd(text: string, start: number): number {
  let i = start + 1
  for (; i < text.length; i++) {
    const found = text.charCodeAt(i)
    if (found === 0x22) break
    if (found === 0x5c) i++
  }
  return i
}

function countKeys(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0
  const items: unknown[] = Object.values(value)
  return items.reduce((keys: number, item) => keys + countKeys(item), Array.isArray(value) ? 0 : items.length)
}

/** First key that stands twice in one object of `text`, which must be valid JSON with such a key. */
function duplicateKey(text: string): string {
  const open: (Set<string> | undefined)[] = [] // keys of each open object, undefined for an open array
  let last = '' // string token
  for (let i = 0; ; i++) {
    const found = text[i]
    if (found === '{') open.push(new Set())
    else if (found === '[') open.push(undefined)
    else if (found === '}' || found === ']') open.pop()
    else if (found === '"') {
      const start = i
      i = stringEnd(text, start)
      last = text.slice(start, i + 1)
    } else if (found === ':') {
      const key = JSON.parse(last) as string
      const keys = open.at(-1)
      if (keys?.has(key)) return key
      keys?.add(key)
    }
  }
}
