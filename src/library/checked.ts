// Names and types of options, checked when a verb is called: what TypeScript would refuse, JavaScript and casts let through. Ranges and
// choices are checked where options are resolved. Used by node.ts and web.ts.
import { didYouMean, UsageError } from '../errors.ts'
import type { Listener, ProgressEvent } from '../events.ts'
import { describeValue } from '../formats/json.ts'

/** What an option may be; `any` is for what somebody else checks. */
type Kind = 'number' | 'string' | 'boolean' | 'function' | 'object' | 'array' | 'any'
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
  any: 'anything',
}

const kindOf = (value: unknown): string => (Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value)

/** @throws UsageError for an option that the verb has not, or a value of another type */
export function check(verb: string, given: unknown, shape: Readonly<Record<string, Kinds>>): void {
  if (kindOf(given) !== 'object')
    throw new UsageError(`${verb} takes its options as an object, not as ${describeValue(given)}.`)
  for (const [name, value] of Object.entries(given as object)) {
    if (!Object.hasOwn(shape, name)) {
      const all = Object.keys(shape)
      throw new UsageError(`unknown option ${name}.${didYouMean(name, all) || ` ${verb} takes ${all.join(', ')}.`}`)
    }
    const kinds = [shape[name]].flat() as Kind[]
    if (value === undefined || kinds.includes('any') || kinds.includes(kindOf(value) as Kind)) continue
    throw new UsageError(
      `${name} is ${describeValue(value)}; it must be ${kinds.map(kind => WORDS[kind]).join(' or ')}.`,
    )
  }
}

/** The verb, which checks its options first. @param place of the options among its arguments */
export const checked = <A extends readonly unknown[], T>(
  name: string,
  place: number,
  shape: Readonly<Record<string, Kinds>>,
  verb: (...args: A) => AsyncGenerator<ProgressEvent, T>,
) =>
  async function* (...args: A): AsyncGenerator<ProgressEvent, T> {
    check(name, args[place] ?? {}, { ...shape, ...LISTENER })
    return yield* verb(...args)
  }

const LISTENER: Shape<Listener> = { onEvent: 'function' }
