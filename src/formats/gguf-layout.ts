// Lays out a GGUF file of version 3, so that its tensors can be written in any order: magic, version, counts; key-value
// pairs; tensor infos; padding; tensor data, every tensor at a multiple of 32 bytes. Source: ggml/docs/gguf.md.
import { concatBytes } from '../base/bytes.ts'
import { DTYPE_BYTES, type FloatDType, isDType } from './dtype.ts'
import { GGML_TYPES } from './gguf.ts'
import { QUANTIZED_BLOCKS } from './gguf-dequantize.ts'
import { elements, type QuantizedType } from './tensors.ts'

type Bytes = Uint8Array<ArrayBuffer>

/** Types that tensors are written in. */
export type GgufType = Exclude<FloatDType, 'F64'> | QuantizedType

export interface GgufTensorInfo {
  readonly name: string
  readonly type: GgufType
  /** Row-major, slowest dimension first. */
  readonly shape: readonly number[]
}

/** A metadata pair. The value is its type number and bytes, from the functions below or from another file. */
export type GgufPair = readonly [key: string, value: Bytes]

export interface GgufLayout {
  /** First bytes of the file, up to the tensor data. */
  readonly header: Bytes
  readonly tensors: ReadonlyMap<string, GgufTensorInfo & { readonly offset: number; readonly byteLength: number }>
  /** Length of the whole file. */
  readonly byteLength: number
}

const ALIGNMENT = 32
const TYPE_NUMBERS = new Map([...GGML_TYPES].map(([number, name]) => [name, number]))

/** Elements that share a block: rows must be whole blocks. */
export const blockElements = (type: GgufType): number => (isDType(type) ? 1 : QUANTIZED_BLOCKS[type].elements)

export const storedBytes = ({ type, shape }: Omit<GgufTensorInfo, 'name'>): number =>
  isDType(type)
    ? elements(shape) * DTYPE_BYTES[type]
    : (elements(shape) / QUANTIZED_BLOCKS[type].elements) * QUANTIZED_BLOCKS[type].bytes

export function layoutGguf(pairs: readonly GgufPair[], infos: readonly GgufTensorInfo[]): GgufLayout {
  const places = new Map<string, GgufTensorInfo & { offset: number; byteLength: number }>()
  const parts: Uint8Array[] = [u32(0x46554747), u32(3), u64(infos.length), u64(pairs.length)]
  for (const [key, value] of pairs) parts.push(string(key), value)
  let end = 0 // of the data so far
  for (const info of infos) {
    const dimensions = info.shape.map(u64).reverse()
    parts.push(string(info.name), u32(info.shape.length), ...dimensions, u32(TYPE_NUMBERS.get(info.type)!), u64(end))
    const byteLength = storedBytes(info)
    places.set(info.name, { ...info, offset: end, byteLength })
    end += aligned(byteLength)
  }
  const unpadded = concatBytes(parts)
  const header = new Uint8Array(aligned(unpadded.length))
  header.set(unpadded)
  const tensors = new Map([...places].map(([name, t]) => [name, { ...t, offset: header.length + t.offset }]))
  return { header, tensors, byteLength: header.length + end }
}

const aligned = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT

const word = (size: number, put: (view: DataView) => void): Bytes => {
  const view = new DataView(new ArrayBuffer(size))
  put(view)
  return new Uint8Array(view.buffer)
}
const u32 = (value: number): Bytes => word(4, view => view.setUint32(0, value, true))
const i32 = (value: number): Bytes => word(4, view => view.setInt32(0, value, true))
const f32 = (value: number): Bytes => word(4, view => view.setFloat32(0, value, true))
const u64 = (value: number): Bytes => word(8, view => view.setBigUint64(0, BigInt(value), true))
const string = (text: string): Bytes => {
  const bytes = new TextEncoder().encode(text)
  return concatBytes([u64(bytes.length), bytes])
}

/** Type numbers of values: ggml/docs/gguf.md, `gguf_metadata_value_type`. */
const U32 = 4
const I32 = 5
const F32 = 6
const BOOL = 7
const STRING = 8
const ARRAY = 9

const array = (type: number, items: readonly Uint8Array[]): Bytes =>
  concatBytes([u32(ARRAY), u32(type), u64(items.length), ...items])

/** Values of metadata pairs. */
export const ggufValue = {
  count: (value: number): Bytes => concatBytes([u32(U32), u32(value)]),
  real: (value: number): Bytes => concatBytes([u32(F32), f32(value)]),
  flag: (value: boolean): Bytes => concatBytes([u32(BOOL), Uint8Array.of(Number(value))]),
  text: (value: string): Bytes => concatBytes([u32(STRING), string(value)]),
  counts: (values: readonly number[]): Bytes => array(I32, values.map(i32)),
  reals: (values: readonly number[]): Bytes => array(F32, values.map(f32)),
  texts: (values: readonly string[]): Bytes => array(STRING, values.map(string)),
}
