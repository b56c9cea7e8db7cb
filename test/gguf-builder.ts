// Builds GGUF files in memory, valid ones and broken ones: every length and count of the file can be overridden.
// Layout: ggml/docs/gguf.md.
import type { ByteSource } from '../src/base/bytes.ts'
import { memorySource } from '../src/base/bytes.ts'

export type BuiltValue =
  | { type: 'u32' | 'i32' | 'f32' | 'bool' | 'u8' | 'f64'; value: number }
  | { type: 'u64' | 'i64'; value: bigint }
  | { type: 'string'; value: string | Uint8Array; length?: bigint }
  | { type: 'array'; of: number; items: BuiltValue[]; length?: bigint }
  /** Any type number, and the bytes after it. */
  | { type: 'raw'; number: number; bytes: Uint8Array }

export interface BuiltTensor {
  name: string
  /** Row-major, slowest first, as everywhere else. */
  shape: readonly (number | bigint)[]
  /** ggml type number. */
  type: number
  bytes: Uint8Array
  /** In the data section. @default after the tensor before it, aligned */
  offset?: number
}

export interface BuiltGguf {
  metadata?: readonly (readonly [string, BuiltValue])[]
  tensors?: readonly BuiltTensor[]
  magic?: string
  /** @default 3 */
  version?: number
  bigEndian?: boolean
  tensorCount?: bigint
  pairCount?: bigint
  /** Of the layout; `general.alignment` is for the caller to write. @default 32 */
  alignment?: number
}

const TYPES = { u8: 0, u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9, u64: 10, i64: 11, f64: 12 }

export const u32 = (value: number): BuiltValue => ({ type: 'u32', value })
export const f32 = (value: number): BuiltValue => ({ type: 'f32', value })
export const bool = (value: boolean): BuiltValue => ({ type: 'bool', value: Number(value) })
export const text = (value: string): BuiltValue => ({ type: 'string', value })
export const texts = (values: readonly string[]): BuiltValue => ({ type: 'array', of: 8, items: values.map(text) })
export const f32s = (values: readonly number[]): BuiltValue => ({ type: 'array', of: 6, items: values.map(f32) })
export const i32s = (values: readonly number[]): BuiltValue => ({
  type: 'array',
  of: 5,
  items: values.map(value => ({ type: 'i32', value })),
})

/** Of a LLaMA of one layer: 2 heads of 4, 1 KV head, FFN 32. @param hidden its hidden size */
export const oneLayer = (hidden: number): Record<string, BuiltValue> => ({
  'general.architecture': text('llama'),
  'llama.block_count': u32(1),
  'llama.context_length': u32(64),
  'llama.embedding_length': u32(hidden),
  'llama.feed_forward_length': u32(32),
  'llama.attention.head_count': u32(2),
  'llama.attention.head_count_kv': u32(1),
  'llama.attention.key_length': u32(4),
  'llama.attention.value_length': u32(4),
  'llama.attention.layer_norm_rms_epsilon': f32(1e-5),
  'llama.rope.dimension_count': u32(4),
})

export function f32Tensor(name: string, shape: readonly number[], values: ArrayLike<number>): BuiltTensor {
  return { name, shape, type: 0, bytes: new Uint8Array(Float32Array.from(values).buffer) }
}

export function buildGguf(file: BuiltGguf): Uint8Array<ArrayBuffer> {
  const { metadata = [], tensors = [], alignment = 32, bigEndian = false } = file
  const out = new Writer(!bigEndian)
  out.bytes(new TextEncoder().encode(file.magic ?? 'GGUF'))
  out.u32(file.version ?? 3)
  out.u64(file.tensorCount ?? BigInt(tensors.length))
  out.u64(file.pairCount ?? BigInt(metadata.length))
  for (const [key, value] of metadata) {
    out.text(key)
    out.u32(value.type === 'raw' ? value.number : TYPES[value.type])
    out.value(value)
  }
  let end = 0
  const offsets = tensors.map(({ offset, bytes }) => {
    const at = offset ?? Math.ceil(end / alignment) * alignment
    end = Math.max(end, at + bytes.length)
    return at
  })
  tensors.forEach(({ name, shape, type }, i) => {
    out.text(name)
    out.u32(shape.length)
    for (const n of [...shape].reverse()) out.u64(BigInt(n))
    out.u32(type)
    out.u64(BigInt(offsets[i]))
  })
  const start = Math.ceil(out.length / alignment) * alignment
  const result = new Uint8Array(start + end)
  result.set(out.finish())
  tensors.forEach(({ bytes }, i) => {
    result.set(bytes, start + offsets[i])
  })
  return result
}

/** The built file as a source, to open. */
export const ggufSource = (file: BuiltGguf, name = 'built.gguf'): ByteSource => memorySource(buildGguf(file), name)

class Writer {
  readonly #parts: Uint8Array[] = []
  length = 0

  constructor(readonly little: boolean) {}

  bytes(part: Uint8Array): void {
    this.#parts.push(part)
    this.length += part.length
  }

  #number(size: number, write: (view: DataView) => void): void {
    const view = new DataView(new ArrayBuffer(size))
    write(view)
    this.bytes(new Uint8Array(view.buffer))
  }

  u32(value: number): void {
    this.#number(4, view => view.setUint32(0, value, this.little))
  }

  u64(value: bigint): void {
    this.#number(8, view => view.setBigUint64(0, value, this.little))
  }

  text(value: string | Uint8Array, length?: bigint): void {
    const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : value
    this.u64(length ?? BigInt(bytes.length))
    this.bytes(bytes)
  }

  value(value: BuiltValue): void {
    const { type } = value
    if (type === 'u8' || type === 'bool') this.#number(1, view => view.setUint8(0, value.value))
    else if (type === 'u32' || type === 'i32') this.#number(4, view => view.setInt32(0, value.value, this.little))
    else if (type === 'f32') this.#number(4, view => view.setFloat32(0, value.value, this.little))
    else if (type === 'f64') this.#number(8, view => view.setFloat64(0, value.value, this.little))
    else if (type === 'u64' || type === 'i64') this.#number(8, view => view.setBigInt64(0, value.value, this.little))
    else if (type === 'string') this.text(value.value, value.length)
    else if (type === 'array') {
      this.u32(value.of)
      this.u64(value.length ?? BigInt(value.items.length))
      for (const item of value.items) this.value(item)
    } else if (type === 'raw') this.bytes(value.bytes)
  }

  finish(): Uint8Array {
    const all = new Uint8Array(this.length)
    let at = 0
    for (const part of this.#parts) {
      all.set(part, at)
      at += part.length
    }
    return all
  }
}
