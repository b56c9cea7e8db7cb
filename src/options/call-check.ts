// Names and types of options, checked when a verb is called: what TypeScript would refuse, JavaScript and casts let through. Ranges and
// choices are checked where options are resolved. Used by node.ts and web.ts.
import { didYouMean, UsageError } from '../base/errors.ts'
import type { Listener, Progress } from '../base/events.ts'
import { describeValue } from '../formats/json.ts'

/** What an option may be; `any` is for what somebody else checks. */
type Kind = 'number' | 'string' | 'boolean' | 'function' | 'object' | 'array' | 'strings' | 'objects' | 'texts' | 'any'
export type Kinds = Kind | readonly Kind[]

/** Of each option of a verb what it may be. */
export type Shape<Options> = { readonly [K in keyof Required<Options>]: Kinds }

const WORDS: Readonly<Record<Kind, string>> = {
  number: 'a number',
  string: 'a string',
  boolean: 'true or false',
  function: 'a function',
  object: 'an object',
  array: 'an array',
  strings: 'an array of strings',
  objects: 'an array of objects',
  texts: 'an array of names and texts',
  any: 'anything',
}

const ELEMENTS: Partial<Record<Kind, readonly string[]>> = {
  strings: ['string'],
  objects: ['object'],
  texts: ['string', 'object'],
}

const is = (value: unknown, kind: Kind): boolean => {
  const elements = ELEMENTS[kind]
  return elements ? Array.isArray(value) && value.every(one => elements.includes(kindOf(one))) : kindOf(value) === kind
}

const kindOf = (value: unknown): string => (Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value)

const wordsOf = (kinds: Kinds): string =>
  [kinds]
    .flat()
    .map(kind => WORDS[kind as Kind])
    .join(' or ')

function checkKind(name: string, value: unknown, given: Kinds): void {
  const kinds = [given].flat() as Kind[]
  if (kinds.some(kind => kind === 'any' || is(value, kind))) return
  throw new UsageError(`${name} is ${describeValue(value)}; it must be ${wordsOf(given)}.`)
}

/** @param needs options that have no default @throws UsageError for an option that the verb has not, lacks, or has of another type */
export function checkGiven(
  verb: string,
  given: unknown,
  shape: Readonly<Record<string, Kinds>>,
  needs: readonly string[] = [],
): void {
  if (kindOf(given) !== 'object')
    throw new UsageError(`${verb} takes its options as an object, not as ${describeValue(given)}.`)
  for (const [name, value] of Object.entries(given as object)) {
    if (!Object.hasOwn(shape, name)) {
      const all = Object.keys(shape)
      throw new UsageError(`unknown option ${name}.${didYouMean(name, all) || ` ${verb} takes ${all.join(', ')}.`}`)
    }
    if (value !== undefined) checkKind(name, value, shape[name])
  }
  const missing = needs.find(name => (given as Readonly<Record<string, unknown>>)[name] === undefined)
  if (missing) throw new UsageError(`${verb} needs ${missing}, ${wordsOf(shape[missing])}.`)
}

/** What a verb takes. */
export interface Takes {
  /** Before the options. */
  readonly arguments: Readonly<Record<string, Kinds>>
  readonly options: Readonly<Record<string, Kinds>>
  /** Options without a default. */
  readonly needs?: readonly string[]
}

/** The verb, which checks what it is given first. */
export const checked = <A extends readonly unknown[], T>(
  name: string,
  { arguments: before, options, needs }: Takes,
  verb: (...args: A) => Progress<T>,
) =>
  async function* (...args: A): Progress<T> {
    const names = Object.entries(before)
    for (const [i, [argument, kinds]] of names.entries()) checkKind(`${argument} of ${name}`, args[i], kinds)
    checkGiven(name, args[names.length] ?? {}, { ...options, ...LISTENER }, needs)
    return yield* verb(...args)
  }

const LISTENER: Shape<Listener> = { onEvent: 'function' }
