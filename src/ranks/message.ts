// Plain data and typed arrays as bytes: the length of a JSON head, the head, and its arrays, each from a multiple of 8.
import { fromTypedJson, type Typed, toTypedJson } from '../formats/typed-json.ts'

const ALIGNED = 8
const aligned = (bytes: number): number => Math.ceil(bytes / ALIGNED) * ALIGNED

/** @throws Error for an array of another type */
export function encoded(value: unknown): Uint8Array<ArrayBuffer> {
  const arrays: Typed[] = []
  const json = toTypedJson(value, array => {
    if (!arrays.includes(array)) arrays.push(array)
    return { length: array.length, index: arrays.indexOf(array) }
  })
  const head = new TextEncoder().encode(json)
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
  const arrays: Typed[] = []
  return fromTypedJson(head, (Type, entry) => {
    const [index, byteLength] = [Number(entry.index), Number(entry.length) * Type.BYTES_PER_ELEMENT]
    if (arrays[index]) return arrays[index]
    arrays[index] = new Type(bytes.slice(at, at + byteLength).buffer)
    at += aligned(byteLength)
    return arrays[index]
  })
}
