// Element types: sizes, and conversion between stored bytes and float32. Machines of Node and of browsers are
// little-endian, as the files are. Rounding is to nearest, ties to even (IEEE 754-2019, 4.3.1); NaNs keep their sign.
import type { DType } from './tensors.ts'

/** Types that weights are written in. */
export type FloatDType = 'F64' | 'F32' | 'F16' | 'BF16'

/** Bytes per element. */
export const DTYPE_BYTES: Readonly<Record<DType, number>> = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  I32: 4,
  I16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
}

export const isDType = (text: unknown): text is DType => typeof text === 'string' && Object.hasOwn(DTYPE_BYTES, text)

export const isFloat = (dtype: string): dtype is FloatDType => ['F64', 'F32', 'F16', 'BF16'].includes(dtype)

/**
 * Values of stored elements as float32. For F32 the result shares memory with `bytes` where their alignment allows it.
 * @throws RangeError where the length of `bytes` is no multiple of the element size.
 */
export function toFloat32(bytes: Uint8Array<ArrayBuffer>, dtype: DType): Float32Array<ArrayBuffer> {
  const size = DTYPE_BYTES[dtype]
  if (bytes.byteLength % size !== 0) throw new RangeError(`${bytes.byteLength} bytes are no whole number of ${dtype}`)
  const { buffer, byteOffset } = aligned(bytes, size)
  const length = bytes.byteLength / size
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer, byteOffset, length)
    case 'F64':
      return new Float32Array(new Float64Array(buffer, byteOffset, length))
    case 'F16':
      return halfToFloat32(new Uint16Array(buffer, byteOffset, length))
    case 'BF16':
      return bfloatToFloat32(new Uint16Array(buffer, byteOffset, length))
    case 'I64':
      return Float32Array.from(new BigInt64Array(buffer, byteOffset, length), Number)
    case 'I32':
      return new Float32Array(new Int32Array(buffer, byteOffset, length))
    case 'I16':
      return new Float32Array(new Int16Array(buffer, byteOffset, length))
    case 'I8':
      return new Float32Array(new Int8Array(buffer, byteOffset, length))
    case 'U8':
    case 'BOOL':
      return new Float32Array(new Uint8Array(buffer, byteOffset, length))
  }
}

/** Bytes of `values` in `dtype`: a fresh copy. Values beyond the range of F16 become infinite, as in PyTorch. */
export function fromFloat32(values: Float32Array, dtype: FloatDType): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(values.length * DTYPE_BYTES[dtype])
  writeFloat32(values, dtype, bytes)
  return bytes
}

/** The same, to `bytes` of the right length, which begin at a multiple of the element size. */
export function writeFloat32(values: Float32Array, dtype: FloatDType, { buffer, byteOffset }: Uint8Array<ArrayBuffer>) {
  const { length } = values
  switch (dtype) {
    case 'F32':
      return new Float32Array(buffer, byteOffset, length).set(values)
    case 'F64':
      return new Float64Array(buffer, byteOffset, length).set(values)
    case 'F16':
      return float32ToHalf(bitsOf(values), new Uint16Array(buffer, byteOffset, length))
    case 'BF16':
      return float32ToBfloat(bitsOf(values), new Uint16Array(buffer, byteOffset, length))
  }
}

/** The exponent: infinities and NaNs, and only they, have all its bits set. */
const EXPONENT: Partial<Readonly<Record<DType, number>>> = { F32: 0x7f800000, F16: 0x7c00, BF16: 0x7f80 }

/** Index of the first stored element that is no finite float32, or −1. */
export function firstNotFinite(stored: ArrayBufferView<ArrayBuffer>, dtype: DType): number {
  const exponent = EXPONENT[dtype]
  if (exponent === undefined && dtype !== 'F64') return -1
  const elements = elementsOf(stored, dtype)
  if (exponent === undefined) return elements.findIndex((value: number) => !Number.isFinite(Math.fround(value)))
  for (let i = elementsInFiniteWords(stored, exponent); i < elements.length; i++)
    if ((elements[i] & exponent) === exponent) return i
  return -1
}

/** How many 16- or 32-bit elements at the start of `stored` fill 32-bit words without infinities and NaNs. */
function elementsInFiniteWords(stored: ArrayBufferView<ArrayBuffer>, exponent: number): number {
  const { buffer, byteOffset, byteLength } = aligned(stored, 4)
  const words = new Int32Array(buffer, byteOffset, Math.floor(byteLength / 4))
  const halves = exponent < 0x8000 ? 0x10001 : 1
  const [exponents, signs] = [exponent * halves, halves === 1 ? 0x80000000 : 0x80008000]
  const lowest = (exponent & -exponent) * halves // added to an exponent of ones, it carries to the sign's place
  let i = 0
  while (i < words.length && (((words[i] & exponents) + lowest) & signs) === 0) i++
  return halves === 1 ? i : i * 2
}

/** Stored elements as numbers of their size: a view where the alignment allows. Zero bits are zero in any type. */
export function elementsOf(stored: ArrayBufferView<ArrayBuffer>, dtype: DType) {
  const size = DTYPE_BYTES[dtype]
  const { buffer, byteOffset, byteLength } = aligned(stored, size)
  const View = size === 8 ? Float64Array : size === 4 ? Uint32Array : size === 2 ? Uint16Array : Uint8Array
  return new View(buffer, byteOffset, byteLength / size)
}

/** The same bytes where elements of `size` can be viewed: a copy, where they do not begin at a multiple of it. */
const aligned = ({ buffer, byteOffset, byteLength }: ArrayBufferView<ArrayBuffer>, size: number) =>
  byteOffset % size === 0
    ? { buffer, byteOffset, byteLength }
    : { buffer: buffer.slice(byteOffset, byteOffset + byteLength), byteOffset: 0, byteLength }

const bitsOf = (values: Float32Array): Int32Array => new Int32Array(values.buffer, values.byteOffset, values.length)

let halfTable: Uint32Array | undefined

function halfToFloat32(halves: Uint16Array): Float32Array<ArrayBuffer> {
  halfTable ??= buildHalfTable()
  const table = halfTable
  const bits = new Uint32Array(halves.length)
  for (let i = 0; i < halves.length; i++) bits[i] = table[halves[i]]
  return new Float32Array(bits.buffer)
}

/** float32 bits of all 65536 half patterns: 256 KiB, which stays in cache. */
function buildHalfTable(): Uint32Array {
  const bits = new Uint32Array(65536)
  const values = new Float32Array(bits.buffer)
  for (let half = 0; half < 65536; half++) {
    const sign = (half & 0x8000) << 16
    const exponent = (half >> 10) & 0x1f
    const mantissa = half & 0x3ff
    if (exponent === 0) {
      values[half] = mantissa * 2 ** -24 // zero and subnormals
      bits[half] |= sign
    } else if (exponent === 31) {
      bits[half] = sign | 0x7f800000 | (mantissa << 13)
    } else {
      bits[half] = sign | ((exponent + 112) << 23) | (mantissa << 13)
    }
  }
  return bits
}

function bfloatToFloat32(bfloats: Uint16Array): Float32Array<ArrayBuffer> {
  const bits = new Uint32Array(bfloats.length)
  for (let i = 0; i < bfloats.length; i++) bits[i] = bfloats[i] << 16
  return new Float32Array(bits.buffer)
}

function float32ToHalf(bits: Int32Array, halves: Uint16Array): void {
  for (let i = 0; i < bits.length; i++) {
    const sign = (bits[i] >>> 16) & 0x8000
    const magnitude = bits[i] & 0x7fffffff
    let half: number
    if (magnitude >= 0x47800000) {
      // 2^16 and above, infinite, NaN; a NaN whose payload lies below the half's bits needs one that does not.
      const payload = (magnitude >>> 13) & 0x3ff
      half = magnitude <= 0x7f800000 ? 0x7c00 : 0x7c00 | (payload === 0 ? 0x200 : payload)
    } else if (magnitude >= 0x38800000) {
      // Normal: a carry out of the mantissa moves into the exponent, from 65520 on up to infinity.
      half = (magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13
    } else if (magnitude > 0x33000000) {
      // Subnormal, in units of 2^-24; 2^-25 and below round to zero.
      const shift = 126 - (magnitude >>> 23) // 14 … 24
      const mantissa = (magnitude & 0x7fffff) | 0x800000
      half = mantissa >>> shift
      const rest = mantissa & ((1 << shift) - 1)
      const tie = 1 << (shift - 1)
      if (rest > tie || (rest === tie && (half & 1) === 1)) half++
    } else {
      half = 0
    }
    halves[i] = sign | half
  }
}

function float32ToBfloat(bits: Int32Array, bfloats: Uint16Array): void {
  for (let i = 0; i < bits.length; i++) {
    const x = bits[i]
    if ((x & 0x7fffffff) > 0x7f800000) {
      bfloats[i] = (x >>> 16) | ((x & 0x7f0000) === 0 ? 0x40 : 0) // a NaN must not be cut to infinity
    } else {
      bfloats[i] = (x + 0x7fff + ((x >>> 16) & 1)) >>> 16
    }
  }
}
