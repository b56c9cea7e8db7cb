// Plain data and typed arrays as bytes: the length of a head, the head, which is JSON, and the arrays that it names, each from a multiple of 8.

const ARRAYS = { Int32Array, Float32Array, Float64Array, Uint8Array, Int8Array, Uint32Array } as const
type Name = keyof typeof ARRAYS
type Arrays = InstanceType<(typeof ARRAYS)[Name]>

const ALIGNED = 8
const aligned = (bytes: number): number => Math.ceil(bytes / ALIGNED) * ALIGNED

/** @throws Error for an array of another type */
export function encoded(value: unknown): Uint8Array<ArrayBuffer> {
  const arrays: Arrays[] = []
  const head = new TextEncoder().encode(JSON.stringify(named(value, arrays)))
  const start = ALIGNED + aligned(head.length)
  const bytes = new Uint8Array(arrays.reduce((sum, { byteLength }) => sum + aligned(byteLength), start))
  new DataView(bytes.buffer).setFloat64(0, head.length)
  bytes.set(head, ALIGNED)
  let at = start
  for (const { buffer, byteOffset, byteLength } of arrays) {
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), at)
    at += aligned(byteLength)
  }
  return bytes
}

/** @param bytes of `encoded` */
export function decoded(bytes: Uint8Array<ArrayBuffer>): unknown {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getFloat64(0)
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(ALIGNED, ALIGNED + length)))
  let at = ALIGNED + aligned(length)
  const arrays: Arrays[] = []
  return revived(head, (name, length, index) => {
    if (arrays[index]) return arrays[index]
    const Type = ARRAYS[name]
    const array = new Type(bytes.slice(at, at + length * Type.BYTES_PER_ELEMENT).buffer)
    at += aligned(array.byteLength)
    arrays[index] = array
    return array
  })
}

/** With names for arrays, and for numbers and undefined, which JSON has not. */
function named(value: unknown, arrays: Arrays[]): unknown {
  if (value === undefined) return { $undefined: true }
  if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0)))
    return { $number: Object.is(value, -0) ? '-0' : String(value) }
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(one => named(one, arrays))
  if (!ArrayBuffer.isView(value))
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, named(one, arrays)]))
  const array = value as Arrays
  const { name } = array.constructor
  if (!Object.hasOwn(ARRAYS, name)) throw new Error(`${name} goes to no other process`)
  const known = arrays.indexOf(array)
  if (known < 0) arrays.push(array)
  return { $array: name, length: array.length, index: known < 0 ? arrays.length - 1 : known }
}

function revived(value: unknown, read: (name: Name, length: number, index: number) => Arrays): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(one => revived(one, read))
  const { $array, $number, $undefined, length, index } = value as Record<string, unknown>
  if ($undefined) return undefined
  if ($number !== undefined) return Number($number)
  if ($array !== undefined) return read($array as Name, Number(length), Number(index))
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, revived(one, read)]))
}
