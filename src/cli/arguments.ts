// A command line's words → options by their names in the specification, over `util.parseArgs`.
import { parseArgs } from 'node:util'
import { didYouMean, notOneOf, UsageError } from '../base/errors.ts'
import { METHOD_OPTION_HELP } from '../options/methods.ts'
import { flag, type Option } from '../options/option.ts'
import { checkRange } from '../options/options.ts'
import { type Commanded, type Entry, flagOf, type Taken, takenBy, type VerbName } from '../options/verbs.ts'

type ValueOf<O> = O extends { readonly type: 'flag' }
  ? boolean
  : O extends { readonly list: true }
    ? (O extends { readonly type: 'text' } ? string : number)[]
    : O extends { readonly type: 'text' }
      ? O extends { readonly many: true }
        ? string[]
        : O extends { readonly choices: readonly (infer C)[] }
          ? C
          : string
      : number

/** Options of a command. */
export type Parsed<V extends VerbName> = { readonly [K in Commanded<V>]?: ValueOf<Entry<V, K>> }

export interface Arguments<V extends VerbName = VerbName> {
  readonly options: Parsed<V>
  readonly positionals: readonly string[]
}

export type Specs = Readonly<Record<string, Option>>

/** Options that every command has. */
export const COMMON = {
  help: flag('show this text', { short: 'h' }),
  helpAll: flag('show all options'),
}

/** The options that the verb takes, among the options of a command. */
export function given<V extends VerbName, O extends object>(verb: V, options: O): Pick<O, Taken<V, 'node'> & keyof O> {
  const taken = takenBy(verb, 'node')
  return Object.fromEntries(Object.entries(options).filter(([name]) => name in taken)) as O
}

/** @throws UsageError for an unknown option, a missing or malformed value, or a number out of range */
export function parseArguments(args: readonly string[], specs: Specs) {
  const all: Specs = { ...specs, ...COMMON }
  const names = new Map<string, string>()
  for (const [name, spec] of Object.entries(all))
    for (const written of [flagOf(name, spec), spec.also ?? []].flat()) names.set(written, name)
  const flags = [...names].map(([written, name]) => {
    const { type, short, many = false } = all[name]
    const kind = { type: type === 'flag' ? ('boolean' as const) : ('string' as const), multiple: many }
    return [written, short ? { ...kind, short } : kind]
  })
  let parsed: ReturnType<typeof parseArgs>
  try {
    const words = args.map((arg, i) => {
      const { bare, type } = all[names.get(arg.slice(2)) ?? ''] ?? {}
      return arg.startsWith('--') && bare && !(type === 'integer' && /^\d/.test(args[i + 1])) ? `${arg}=${bare}` : arg
    })
    parsed = parseArgs({
      args: joinNegatives(words),
      options: Object.fromEntries(flags),
      allowPositionals: true,
      strict: true,
    })
  } catch (error) {
    throw new UsageError(explain(error as Error, [...names.keys()]), { cause: error })
  }
  const options: Record<string, unknown> = {}
  for (const [written, value] of Object.entries(parsed.values)) {
    const name = names.get(written)!
    const { also } = all[name]
    if (name in options) throw new UsageError(`--${flagOf(name, all[name])} and --${also} are the same. Give one.`)
    options[name] = convert(written, value, all[name])
  }
  return { options, positionals: parsed.positionals }
}

/** `-s -0.1` → `-s=-0.1`-like form, so that a negative number is a value with a clear message and not an option. */
function joinNegatives(args: readonly string[]): string[] {
  const joined: string[] = []
  for (const arg of args) {
    const before = joined.at(-1)
    if (/^-\d*\.?\d+$/.test(arg) && before?.startsWith('-'))
      joined[joined.length - 1] = before.startsWith('--') ? `${before}=${arg}` : `${before}${arg}`
    else joined.push(arg)
  }
  return joined
}

function convert(name: string, value: unknown, spec: Option): unknown {
  if (typeof value !== 'string') return value
  if (spec.list) return value.split(',').map(part => convert(name, part.trim(), { ...spec, list: false }))
  if (spec.choices && !spec.choices.includes(value)) throw notOneOf(`--${name}`, value, spec.choices)
  return spec.type === 'text' ? value : numberIn(name, value, spec)
}

function numberIn(name: string, value: string, { type, units = {}, range }: Option): number {
  const [, digits, unit] = /^(.*?)\s*([a-z%]*)$/i.exec(value.trim())!
  const known = Object.entries({ ...units, '': 1 })
  const factor = known.find(([name]) => name.toLowerCase() === unit.toLowerCase())?.[1] ?? Number.NaN
  if (units['%'] && unit === '' && Number(digits) > 1 && Number(digits) <= 100)
    throw new UsageError(`--${name} is "${value}"; ${digits} % is ${Number(digits) / 100}, or ${digits}%.`)
  const number = Number((Number(digits) * factor).toPrecision(15)) // 57 % is 0.57
  if (digits === '' || !Number.isFinite(number) || (type === 'integer' && !Number.isInteger(number))) {
    const allowed = known.length > 1 ? `, with or without ${Object.keys(units).join(', ')}` : ''
    const kind = type === 'integer' ? 'an integer' : 'a number'
    throw new UsageError(`--${name} is "${value}"; it must be ${kind}${allowed}.`)
  }
  if (range && range[1] < Infinity) checkRange(name, number, ...range, type === 'integer')
  return number
}

function explain(error: Error, known: readonly string[]): string {
  const unknown = /Unknown option '([^']+)'/.exec(error.message)?.[1]
  const valueless = /^Option '((?:-\w, )?--[\w-]+)[^']*' argument (?:is ambiguous|missing)/.exec(error.message)?.[1]
  if (valueless) return `${valueless} needs a value. See --help.`
  const flag = /^Option '([^']+)' does not take an argument/.exec(error.message)?.[1]
  if (flag) return `${flag} takes no value. See --help.`
  if (!unknown) return error.message.split('\n')[0]
  const wanted = unknown.replace(/^-+/, '')
  const ofMethod = wanted === 'preset' || METHOD_OPTION_HELP.some(({ name }) => name === wanted)
  if (ofMethod && known.includes('method'))
    return `unknown option ${unknown}. Use --method: best, or with options of a method best:alpha=0.25. See --help-all.`
  return `unknown option ${unknown}.${didYouMean(wanted, known, '--')} See --help.`
}
