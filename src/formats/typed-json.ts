// JSON with typed arrays, numbers that are NaN, infinite or −0, and undefined. The caller places the arrays' bytes.

const ARRAYS = { Int32Array, Float32Array, Float64Array, Uint8Array, Int8Array } as const
type TypedConstructor = (typeof ARRAYS)[keyof typeof ARRAYS]
export type Typed = InstanceType<TypedConstructor>
type Entry = Readonly<Record<string, unknown>>

/** @param entryOf what there is to say of an array @throws Error for an array of another type */
export const toTypedJson = (value: unknown, entryOf: (array: Typed) => object): string =>
  JSON.stringify(value, (_, one) => {
    if (typeof one === 'number' && (!Number.isFinite(one) || Object.is(one, -0)))
      return { $number: Object.is(one, -0) ? '-0' : String(one) }
    if (one === undefined) return { $undefined: true }
    if (!ArrayBuffer.isView(one)) return one
    const { name } = one.constructor
    if (!Object.hasOwn(ARRAYS, name)) throw new Error(`${name} is no array that is kept`)
    return { $array: name, ...entryOf(one as Typed) }
  })

/** @param arrayOf its type, and what was said of it @throws what that throws, such as for a type that is none */
export function fromTypedJson(value: unknown, arrayOf: (Type: TypedConstructor, entry: Entry) => Typed): unknown {
  if (Array.isArray(value)) return value.map(one => fromTypedJson(one, arrayOf))
  if (typeof value !== 'object' || value === null) return value
  const entry = value as Entry
  if ('$number' in entry) return Number(entry.$number)
  if ('$undefined' in entry) return undefined
  if ('$array' in entry) return arrayOf(ARRAYS[entry.$array as keyof typeof ARRAYS], entry)
  return Object.fromEntries(Object.entries(entry).map(([name, one]) => [name, fromTypedJson(one, arrayOf)]))
}
