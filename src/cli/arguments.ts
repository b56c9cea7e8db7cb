// Typed command-line options over `util.parseArgs`: each command states its options once, for parsing, checking and `--help`.
import { parseArgs } from 'node:util'
import { didYouMean, notOneOf, UsageError } from '../base/errors.ts'
import { METHOD_OPTIONS, optionName } from '../method/method.ts'

export interface OptionSpec {
  readonly type: 'flag' | 'text' | 'number' | 'integer'
  readonly short?: string
  /** A second name, which other commands have for it. */
  readonly also?: string
  /** May be given more than once. */
  readonly many?: boolean
  /** Several values, with commas between them. */
  readonly list?: boolean
  /** What stands for the value in `--help`. */
  readonly value?: string
  readonly choices?: readonly string[]
  /** Its value where none is given; another takes `=`, or is an integer after it. */
  readonly bare?: string
  /** What may stand after a number, and what it is multiplied by. */
  readonly units?: Readonly<Record<string, number>>
  readonly help: string
  /** Among what a command needs, though its group is another in other commands. */
  readonly needed?: true
  /** Shown by `--help-all` only. */
  readonly rare?: boolean
}

type ValueOf<S extends OptionSpec> = S['type'] extends 'flag'
  ? boolean
  : S['list'] extends true
    ? (S['type'] extends 'text' ? string : number)[]
    : S['type'] extends 'text'
      ? S['many'] extends true
        ? string[]
        : S['choices'] extends readonly (infer C)[]
          ? C
          : string
      : number

export type Parsed<O extends Record<string, OptionSpec>> = { readonly [K in keyof O]?: ValueOf<O[K]> }

export interface Arguments<O extends Record<string, OptionSpec>> {
  readonly options: Parsed<O>
  readonly positionals: readonly string[]
}

/** Units of a part. */
export const PERCENT = { '%': 0.01 } as const
export const SECONDS = { s: 1, m: 60, h: 3600 } as const

/** Options that every command has. */
export const COMMON = {
  help: { type: 'flag', short: 'h', help: 'show this text' },
  'help-all': { type: 'flag', help: 'show all options' },
} as const satisfies Record<string, OptionSpec>

/** @throws UsageError for an unknown option, a missing or malformed value */
export function parseArguments<O extends Record<string, OptionSpec>>(args: readonly string[], specs: O): Arguments<O> {
  const all: Record<string, OptionSpec> = { ...specs, ...COMMON }
  const options = Object.fromEntries(
    Object.entries(all).flatMap(([name, { type: of, short, also, many }]) => {
      const type = of === 'flag' ? ('boolean' as const) : ('string' as const)
      return [name, also ?? name].map(one => [
        one,
        { type, multiple: many === true, ...(short && one === name ? { short } : {}) },
      ])
    }),
  )
  let parsed: ReturnType<typeof parseArgs>
  try {
    const given = args.map((arg, i) => {
      const { bare, type } = (arg.startsWith('--') && specs[arg.slice(2)]) || {}
      return bare && !(type === 'integer' && /^\d/.test(args[i + 1])) ? `${arg}=${bare}` : arg
    })
    parsed = parseArgs({ args: joinNegatives(given), options, allowPositionals: true, strict: true })
  } catch (error) {
    throw new UsageError(explain(error as Error, Object.keys(all)), { cause: error })
  }
  const values = Object.entries(parsed.values).map(([given, value]) => {
    const name = all[given] ? given : Object.keys(all).find(one => all[one].also === given)!
    if (name !== given && name in parsed.values)
      throw new UsageError(`--${name} and --${given} are the same. Give one.`)
    return [name, convert(given, value, all[name])]
  })
  return { options: Object.fromEntries(values), positionals: parsed.positionals }
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

function convert(name: string, value: unknown, spec: OptionSpec): unknown {
  if (spec.type === 'flag' || typeof value !== 'string') return value
  if (spec.list) return value.split(',').map(part => convert(name, part.trim(), { ...spec, list: false }))
  if (spec.choices && !spec.choices.includes(value)) throw notOneOf(`--${name}`, value, spec.choices)
  if (spec.type === 'text') return value
  const [, digits, unit] = /^(.*?)\s*([a-z%]*)$/i.exec(value.trim())!
  const units = Object.entries({ ...spec.units, '': 1 })
  const factor = units.find(([name]) => name.toLowerCase() === unit.toLowerCase())?.[1] ?? Number.NaN
  if (spec.units?.['%'] && unit === '' && Number(digits) > 1 && Number(digits) <= 100)
    throw new UsageError(`--${name} is "${value}"; ${digits} % is ${Number(digits) / 100}, or ${digits}%.`)
  const number = Number((Number(digits) * factor).toPrecision(15)) // 57 % is 0.57
  if (digits === '' || !Number.isFinite(number) || (spec.type === 'integer' && !Number.isInteger(number))) {
    const allowed = spec.units ? `, with or without ${Object.keys(spec.units).join(', ')}` : ''
    throw new UsageError(
      `--${name} is "${value}"; it must be ${spec.type === 'integer' ? 'an integer' : 'a number'}${allowed}.`,
    )
  }
  return number
}

/** Names of earlier versions: what they are now, by command. */
const RENAMED: Readonly<Record<string, readonly string[]>> = {
  eval: ['text'],
  samples: ['windows'],
  'max-windows': ['text-windows', 'windows'],
  result: ['report'],
}

function explain(error: Error, known: readonly string[]): string {
  const unknown = /Unknown option '([^']+)'/.exec(error.message)?.[1]
  const valueless = /^Option '((?:-\w, )?--[\w-]+)[^']*' argument (?:is ambiguous|missing)/.exec(error.message)?.[1]
  if (valueless) return `${valueless} needs a value. See --help.`
  const flag = /^Option '([^']+)' does not take an argument/.exec(error.message)?.[1]
  if (flag) return `${flag} takes no value. See --help.`
  if (!unknown) return error.message.split('\n')[0]
  const wanted = unknown.replace(/^-+/, '')
  const ofMethod = wanted === 'preset' || Object.keys(METHOD_OPTIONS).some(option => optionName(option) === wanted)
  if (ofMethod && known.includes('method'))
    return `unknown option ${unknown}. Use --method: best, or with options of a method best:alpha=0.25. See --help-all.`
  const now = RENAMED[wanted]?.find(name => known.includes(name))
  if (now) return `unknown option ${unknown}. It is --${now} now.`
  return `unknown option ${unknown}.${didYouMean(wanted, known, '--')} See --help.`
}
