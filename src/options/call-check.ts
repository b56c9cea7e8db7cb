// Names, types, choices and ranges of options, checked by the specification when a verb is called: JavaScript and casts
// let through what TypeScript refuses. What depends on a model or on other options is checked where options are
// resolved.
import { didYouMean, notOneOf, UsageError } from '../base/errors.ts'
import type { Progress } from '../base/events.ts'
import { describeValue } from '../base/json.ts'
import { METHOD_OPTIONS } from '../method/method.ts'
import type { Kind, Kinds, Option, Platform } from './option.ts'
import { checkRange } from './options.ts'
import { ARGUMENTS, type OptionName } from './spec.ts'
import { type Entry, flagOf, type Taken, takenBy, VERBS, type Verb, type VerbName } from './verbs.ts'

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
}

const ELEMENTS: Partial<Record<Kind, readonly string[]>> = {
  strings: ['string'],
  objects: ['object'],
  texts: ['string', 'object'],
}

const TYPES = { flag: 'boolean', text: 'string', number: 'number', integer: 'number' } as const

const kindOf = (value: unknown): string => (Array.isArray(value) ? 'array' : value === null ? 'null' : typeof value)

const is = (value: unknown, kind: Kind): boolean => {
  const elements = ELEMENTS[kind]
  return elements ? Array.isArray(value) && value.every(one => elements.includes(kindOf(one))) : kindOf(value) === kind
}

/** What the value may be. */
const kindsOf = ({ type, call, web }: Option, platform: Platform): readonly Kind[] =>
  [(platform === 'web' ? web : undefined) ?? call ?? TYPES[type!]].flat()

const wordsOf = (kinds: readonly Kind[]): string => kinds.map(kind => WORDS[kind]).join(' or ')

function checkValue(name: string, value: unknown, option: Option, platform: Platform): void {
  const kinds = kindsOf(option, platform)
  if (!kinds.some(kind => is(value, kind)))
    throw new UsageError(`${name} is ${describeValue(value)}; it must be ${wordsOf(kinds)}.`)
  const { choices, range: [least, largest] = [0, Infinity], type } = option
  const flag = flagOf(name, option)
  if (choices && !choices.includes(value as string)) throw notOneOf(flag, value as string, choices)
  for (const one of largest < Infinity ? [value].flat() : [])
    if (typeof one === 'number') checkRange(flag, one, least, largest, type === 'integer')
}

/** The options that are checked, and what the user called. */
interface Checked {
  readonly called: string
  readonly options: Readonly<Record<string, Option>>
  /** Options without a default. */
  readonly needs?: readonly string[]
  readonly platform?: Platform
}

/** @throws UsageError for an option that the verb has not, lacks, or has of another type or in another range */
export function checkGiven(given: unknown, { called, options, needs = [], platform = 'node' }: Checked): void {
  if (kindOf(given) !== 'object')
    throw new UsageError(`${called} takes its options as an object, not as ${describeValue(given)}.`)
  for (const [name, value] of Object.entries(given as object)) {
    if (name === 'onEvent') checkValue(name, value ?? (() => {}), { call: 'function' }, platform)
    else if (!Object.hasOwn(options, name)) throw unknownOption(name, called, options)
    else if (value !== undefined) checkValue(name, value, options[name], platform)
  }
  const missing = needs.find(name => (given as Readonly<Record<string, unknown>>)[name] === undefined)
  if (missing) throw new UsageError(`${called} needs ${missing}, ${wordsOf(kindsOf(options[missing], platform))}.`)
}

function unknownOption(name: string, called: string, options: Checked['options']): UsageError {
  if ('method' in options && (name === 'preset' || name in METHOD_OPTIONS))
    return new UsageError(`${name} is no option of ${called} but of its method. Write method: 'best:alpha=0.25'.`)
  const all = [...Object.keys(options), 'onEvent']
  return new UsageError(`unknown option ${name}.${didYouMean(name, all) || ` ${called} takes ${all.join(', ')}.`}`)
}

/** TypeScript's types of what kinds say. */
interface KindTypes {
  readonly number: number
  readonly string: string
  readonly boolean: boolean
  // biome-ignore lint/suspicious/noExplicitAny: of any function
  readonly function: (...args: any[]) => unknown
  readonly object: object
  readonly array: readonly unknown[]
  readonly strings: readonly string[]
  readonly objects: readonly object[]
  readonly texts: readonly (string | object)[]
}
type Flat<K> = K extends readonly (infer One)[] ? One : K
type KindsOf<E, P extends Platform> = Flat<
  E extends { readonly [W in P & 'web']: infer K extends Kinds }
    ? K
    : E extends { readonly call: infer K extends Kinds }
      ? K
      : E extends { readonly type: infer T extends keyof typeof TYPES }
        ? (typeof TYPES)[T]
        : never
>
type Value<E, P extends Platform> = KindTypes[KindsOf<E, P> & Kind]

/** The type of a verb's options, which come last. */
type OptionsOf<A extends readonly unknown[]> =
  Required<A> extends readonly [...unknown[], infer O] ? Required<O> : never
type Named<O, V extends VerbName, P extends Platform> = {
  [K in keyof O]: K extends Taken<V, P> & OptionName ? (O[K] extends Value<Entry<V, K>, P> ? never : K) : K
}[keyof O]
/** Options of which the type and the specification differ. */
type Unlike<A extends readonly unknown[], V extends VerbName, P extends Platform> =
  | Named<OptionsOf<A>, V, P>
  | Exclude<Taken<V, P>, keyof OptionsOf<A>>

/**
 * The verb, which checks what it is given first. It compiles where the type of its options has the options of the
 * specification, of the types that the specification says; otherwise the type of `unlike` names those that differ.
 */
export const checkedOn =
  <P extends Platform>(platform: P) =>
  <V extends VerbName, A extends readonly unknown[], T>(
    name: V,
    verb: (...args: A) => Progress<T>,
    ..._unlike: [Unlike<A, V, P>] extends [never] ? [] : [unlike: Unlike<A, V, P>]
  ) =>
    async function* (...args: A): Progress<T> {
      const { arguments: before = [], needs }: Verb = VERBS[name]
      for (const [i, argument] of before.entries())
        checkValue(`${argument} of ${name}`, args[i], ARGUMENTS[argument], platform)
      checkGiven(args[before.length] ?? {}, { called: name, options: takenBy(name, platform), needs, platform })
      return yield* verb(...args)
    }
