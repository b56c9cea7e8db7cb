// JSON from files that may be broken or crafted: strict UTF-8, an object at the top, no key twice (JSON.parse keeps the last one silently).
import { FormatError } from '../errors.ts'

export type JsonObject = Readonly<Record<string, unknown>>

/** Longest piece of a file's own text that a message repeats. */
const MAX_QUOTE = 80

/** Text cut to a bearable length for a message. */
export const shorten = (text: string): string => (text.length > MAX_QUOTE ? `${text.slice(0, MAX_QUOTE)}…` : text)

/** Text of a file for a message: quoted, control characters escaped, cut to a bearable length. */
export const quote = (text: string): string => JSON.stringify(shorten(text))

export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/**
 * The JSON object in `bytes`.
 * @param file name for messages
 * @param what what the bytes are, for messages: 'the header', 'the file'
 * @throws FormatError where they are not UTF-8, not JSON, or not an object
 */
export function parseJsonObject(bytes: Uint8Array, file: string, what = 'the file'): JsonObject {
  const value = parse(decode(bytes, file, what), file, what)
  if (!isJsonObject(value)) throw new FormatError(file, `${what} is JSON but not an object {…}; ${AGAIN}`)
  return value
}

/** Like `parseJsonObject`, and refuses an object at any depth that has a key twice. */
export function parseStrictJsonObject(bytes: Uint8Array, file: string, what = 'the file'): JsonObject {
  const value = parseJsonObject(bytes, file, what)
  const twice = duplicateKey(decode(bytes, file, what))
  if (twice !== undefined)
    throw new FormatError(file, `${what} has ${quote(twice)} twice; every name must be there once`)
  return value
}

const AGAIN = 'it is damaged or another kind of file, download it again'

function decode(bytes: Uint8Array, file: string, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new FormatError(file, `${what} is not UTF-8 text; ${AGAIN}`, { cause })
  }
}

function parse(text: string, file: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new FormatError(file, `${what} is not JSON (${quote(reason)}); ${AGAIN}`, { cause })
  }
}

/** First key that stands twice in one object of `text`, which must be valid JSON. */
function duplicateKey(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = [] // keys of each open object, undefined for an open array
  let last = '' // string token
  for (let i = 0; i < text.length; i++) {
    const found = text[i]
    if (found === '{') open.push(new Set())
    else if (found === '[') open.push(undefined)
    else if (found === '}' || found === ']') open.pop()
    else if (found === '"') {
      const start = i++
      for (; text[i] !== '"'; i++) if (text[i] === '\\') i++
      last = text.slice(start, i + 1)
    } else if (found === ':') {
      const key = JSON.parse(last) as string
      const keys = open.at(-1)
      if (keys?.has(key)) return key
      keys?.add(key)
    }
  }
  return undefined
}
