// What the specification (spec.ts) says of one option.

/** What a call may give as the value. */
export type Kind = 'number' | 'string' | 'boolean' | 'function' | 'object' | 'array' | 'strings' | 'objects' | 'texts'
export type Kinds = Kind | readonly Kind[]

/** Where the library runs. */
export type Platform = 'node' | 'web'

export interface Option {
  /** On the command line. @default the option is of calls alone */
  readonly type?: 'flag' | 'text' | 'number' | 'integer'
  readonly help?: string
  /** The value, or in words what the value depends on. */
  readonly default?: number | string
  /** The least and the largest number. */
  readonly range?: readonly [least: number, largest: number]
  readonly choices?: readonly string[]
  /** What stands for the value in help. @default 'n' */
  readonly value?: string
  readonly short?: string
  /** Name on the command line. @default the name of the option in kebab-case */
  readonly flag?: string
  /** A second name on the command line, which another command has for the option. */
  readonly also?: string
  /** May be given more than once. */
  readonly many?: boolean
  /** Several values, with commas between them. */
  readonly list?: boolean
  /** The value of `--name` alone; another value takes `=`, or is an integer after the name. */
  readonly bare?: string
  /** What may stand after a number, and what the number is multiplied by. */
  readonly units?: Readonly<Record<string, number>>
  /** First in help, whatever the group. */
  readonly needed?: boolean
  /** Shown by `--help-all` only. */
  readonly rare?: boolean
  /** What a call takes. @default what the type says */
  readonly call?: Kinds
  /** What a call in a page takes. @default `call` */
  readonly web?: Kinds
  /** Whether `fasp.json` records the option for `--recipe`: always, or of outputs that are folders. @default not */
  readonly recipe?: 'always' | 'folder'
  /** The page has a field for the option. */
  readonly page?: true
}

type More = Omit<Option, 'type' | 'help'>

const typed =
  <T extends Option['type']>(type: T) =>
  <const H extends string, const M extends More = object>(help: H, more: M = {} as M) => ({ type, help, ...more })

export const flag = typed('flag')
export const text = typed('text')
export const number = typed('number')
export const integer = typed('integer')

/** An option of calls that the command line does not have. */
export const callOnly = <const M extends More>(call: Kinds, more: M = {} as M) => ({ call, ...more })
