// The shape of JSON, stated once: types follow from it, and values are checked by it. A field that no shape names stays as it is.
import { describeValue, isJsonObject } from '../base/json.ts'

/** What is wrong, and in which field. */
export class Misshapen extends Error {}

/** Gives back the value that it has checked. `at`: where that is in the file. */
export type Shape<T> = (value: unknown, at: string) => T

/** What has a shape. */
export type Shaped<S> = S extends Shape<infer T> ? T : never

type Fields = Readonly<Record<string, Shape<unknown>>>

/** An object with such fields; where a field may be undefined, it may be absent. */
export type ShapedFields<F> = {
  readonly [K in keyof F as undefined extends Shaped<F[K]> ? never : K]: Shaped<F[K]>
} & { readonly [K in keyof F as undefined extends Shaped<F[K]> ? K : never]?: Shaped<F[K]> }

const wrong = (value: unknown, at: string, expected: string): never => {
  const found = value === undefined ? 'is missing' : `is ${describeValue(value)}`
  throw new Misshapen(`${at} ${found}; it must be ${expected}`)
}

export const text: Shape<string> = (value, at) => (typeof value === 'string' ? value : wrong(value, at, 'text'))
export const flag: Shape<boolean> = (value, at) =>
  typeof value === 'boolean' ? value : wrong(value, at, 'true or false')
/** JSON has no NaN: `null` stands for it. */
export const number: Shape<number> = (value, at) =>
  value === null ? Number.NaN : typeof value === 'number' ? value : wrong(value, at, 'a number')
export const oneOf =
  <const T>(allowed: readonly T[]): Shape<T> =>
  (value, at) =>
    allowed.includes(value as T) ? (value as T) : wrong(value, at, `one of ${allowed.join(', ')}`)
export const list =
  <T>(item: Shape<T>): Shape<readonly T[]> =>
  (value, at) =>
    Array.isArray(value) ? value.map((one, i) => item(one, `${at}[${i}]`)) : wrong(value, at, 'a list')
export const optional =
  <T>(shape: Shape<T>): Shape<T | undefined> =>
  (value, at) =>
    value === undefined ? undefined : shape(value, at)
/** What nothing depends on: it is not looked at. */
export const unchecked =
  <T>(): Shape<T> =>
  value =>
    value as T

const fieldsOf = (value: unknown, at: string) => (isJsonObject(value) ? value : wrong(value, at, 'an object'))
const below = (at: string, name: string) => (at === '' ? name : `${at}.${name}`)

/** An object whose values are all of one kind. */
export const record =
  <T>(item: Shape<T>): Shape<Readonly<Record<string, T>>> =>
  (value, at) =>
    Object.fromEntries(Object.entries(fieldsOf(value, at)).map(([name, one]) => [name, item(one, below(at, name))]))

export const object =
  <F extends Fields>(fields: F): Shape<ShapedFields<F>> =>
  (value, at) => {
    const found = fieldsOf(value, at)
    const checked = Object.entries(fields).map(([name, shape]) => [name, shape(found[name], below(at, name))])
    return { ...found, ...Object.fromEntries(checked.filter(([, one]) => one !== undefined)) }
  }

export const numbers = <K extends string>(...names: K[]): Shape<Readonly<Record<K, number>>> =>
  object(Object.fromEntries(names.map(name => [name, number]))) as Shape<Record<K, number>>

/** An object of a type that others state, of which these fields are looked at. */
export const partOf = <T>(fields: { readonly [K in keyof T]?: Shape<unknown> }): Shape<T> =>
  object(fields as Fields) as Shape<T>
