// Block-quantised GGUF tensors to float32.
//   Q4_0, Q5_0, Q8_0: x = d·(q − 2^(bits−1));  Q4_1, Q5_1: x = d·q + m;  blocks of 32, d and m in float16
//   Q2_K, Q4_K, Q5_K: x = d·s·q − dmin·t, s and t of 6 bits for every 32, in Q2_K of 4 for every 16
//   Q3_K, Q6_K: x = d·s·(q − 2^(bits−1)), s of 6 and 8 bits for every 16;  those of K have blocks of 256
//   IQ4_NL, IQ4_XS: x = d·v_q, x = d·s·v_q, v one of 16 values; blocks of 32, of 256 with s of 6 bits for every 32
// Source: ggml/src/ggml-common.h (layouts), gguf-py/gguf/quants.py 0.19.0, bit for bit: products of a float16 and small
// integers are exact in float64, so the only rounding is the store into float32.
import { toFloat32 } from './dtype.ts'
import type { BlockType, QuantizedType } from './tensors.ts'

type Bytes = Uint8Array<ArrayBuffer>
type Kernel = (bytes: Bytes, out: Float32Array) => void

/** Elements and bytes of one block. */
export const QUANTIZED_BLOCKS: Readonly<Record<BlockType, { readonly elements: number; readonly bytes: number }>> = {
  Q4_0: { elements: 32, bytes: 18 },
  Q4_1: { elements: 32, bytes: 20 },
  Q5_0: { elements: 32, bytes: 22 },
  Q5_1: { elements: 32, bytes: 24 },
  Q8_0: { elements: 32, bytes: 34 },
  Q4_K: { elements: 256, bytes: 144 },
  Q5_K: { elements: 256, bytes: 176 },
  Q6_K: { elements: 256, bytes: 210 },
  Q2_K: { elements: 256, bytes: 84 },
  Q3_K: { elements: 256, bytes: 110 },
  IQ4_NL: { elements: 32, bytes: 18 },
  IQ4_XS: { elements: 256, bytes: 136 },
}

export const isQuantized = (type: string): type is BlockType => Object.hasOwn(QUANTIZED_BLOCKS, type)

/** Types that are read, and not written. */
export const READ_ONLY: readonly string[] = ['Q2_K', 'Q3_K', 'IQ4_NL', 'IQ4_XS'] satisfies Exclude<
  BlockType,
  QuantizedType
>[]

export const isWritten = (type: string): type is QuantizedType => isQuantized(type) && !READ_ONLY.includes(type)

/**
 * Values of whole blocks, in order.
 * @throws RangeError where `bytes` is no whole number of blocks.
 */
export function dequantize(bytes: Bytes, type: BlockType): Float32Array<ArrayBuffer> {
  const block = QUANTIZED_BLOCKS[type]
  if (bytes.length % block.bytes !== 0) throw new RangeError(`${bytes.length} bytes are no whole number of ${type}`)
  const out = new Float32Array((bytes.length / block.bytes) * block.elements)
  KERNELS[type](bytes, out)
  return out
}

const KERNELS: Readonly<Record<BlockType, Kernel>> = {
  Q4_0: (bytes, out) => fourBits(bytes, out, 18, undefined),
  Q4_1: (bytes, out) => fourBits(bytes, out, 20, halves(bytes, 20, 2)),
  Q5_0: (bytes, out) => fiveBits(bytes, out, 22, undefined),
  Q5_1: (bytes, out) => fiveBits(bytes, out, 24, halves(bytes, 24, 2)),
  Q8_0: eightBits,
  Q4_K: (bytes, out) => superBlocks(bytes, out, 144, false),
  Q5_K: (bytes, out) => superBlocks(bytes, out, 176, true),
  Q6_K: sixBits,
  Q2_K: twoBits,
  Q3_K: threeBits,
  IQ4_NL: (bytes, out) => fixedValues(bytes, out, 18, 32),
  IQ4_XS: (bytes, out) => fixedValues(bytes, out, 136, 256),
}

/** The float16 at `offset` of every block. */
function halves(bytes: Bytes, stride: number, offset: number): Float32Array {
  const raw = new Uint8Array((bytes.length / stride) * 2)
  for (let i = 0, at = offset; i < raw.length; i += 2, at += stride) {
    raw[i] = bytes[at]
    raw[i + 1] = bytes[at + 1]
  }
  return toFloat32(raw, 'F16')
}

/** [d, m?, 16 bytes]: byte j holds element j in its low half and element j + 16 in its high half. */
function fourBits(bytes: Bytes, out: Float32Array, stride: number, mins: Float32Array | undefined): void {
  const scales = halves(bytes, stride, 0)
  for (let b = 0, at = stride - 16, o = 0; b < scales.length; b++, at += stride, o += 32) {
    const d = scales[b]
    if (mins === undefined)
      for (let j = 0; j < 16; j++) {
        const q = bytes[at + j]
        out[o + j] = d * ((q & 15) - 8)
        out[o + j + 16] = d * ((q >> 4) - 8)
      }
    else {
      const m = mins[b]
      for (let j = 0; j < 16; j++) {
        const q = bytes[at + j]
        out[o + j] = d * (q & 15) + m
        out[o + j + 16] = d * (q >> 4) + m
      }
    }
  }
}

/** [d, m?, 4 bytes of fifth bits, 16 bytes]: as `fourBits`, and bit i of the 32 is the fifth of element i. */
function fiveBits(bytes: Bytes, out: Float32Array, stride: number, mins: Float32Array | undefined): void {
  const scales = halves(bytes, stride, 0)
  for (let b = 0, at = stride - 20, o = 0; b < scales.length; b++, at += stride, o += 32) {
    const d = scales[b]
    const high = bytes[at] | (bytes[at + 1] << 8) | (bytes[at + 2] << 16) | (bytes[at + 3] << 24)
    for (let j = 0; j < 16; j++) {
      const q = bytes[at + 4 + j]
      const first = (q & 15) | (((high >> j) & 1) << 4)
      const second = (q >> 4) | (((high >> (j + 16)) & 1) << 4)
      out[o + j] = mins === undefined ? d * (first - 16) : d * first + mins[b]
      out[o + j + 16] = mins === undefined ? d * (second - 16) : d * second + mins[b]
    }
  }
}

/** [d, 32 int8]. */
function eightBits(bytes: Bytes, out: Float32Array): void {
  const scales = halves(bytes, 34, 0)
  for (let b = 0, at = 2, o = 0; b < scales.length; b++, at += 34, o += 32) {
    const d = scales[b]
    for (let j = 0; j < 32; j++) out[o + j] = d * ((bytes[at + j] << 24) >> 24)
  }
}

/** [d, dmin, 12 bytes of scales, 32 bytes of fifth bits?, 128 bytes]: 32 of the 128 hold two sub-blocks of 32. */
function superBlocks(bytes: Bytes, out: Float32Array, stride: number, fifth: boolean): void {
  const scales = halves(bytes, stride, 0)
  const mins = halves(bytes, stride, 2)
  const high = 16
  const low = stride - 128
  for (let b = 0, base = 0, o = 0; b < scales.length; b++, base += stride)
    for (let s = 0; s < 8; s++, o += 32) {
      const d = scales[b] * subScale(bytes, base + 4, s)
      const m = mins[b] * subMin(bytes, base + 4, s)
      const at = base + low + (s >> 1) * 32
      const shift = (s & 1) * 4
      for (let j = 0; j < 32; j++) {
        let q = (bytes[at + j] >> shift) & 15
        if (fifth) q |= ((bytes[base + high + j] >> s) & 1) << 4
        out[o + j] = d * q - m
      }
    }
}

/** Six-bit scale of sub-block `s`, 12 bytes at `at`: bytes 0–3 have the first four; 8–11 and tops of 0–3 the rest. */
function subScale(bytes: Bytes, at: number, s: number): number {
  return s < 4 ? bytes[at + s] & 63 : (bytes[at + s + 4] & 15) | ((bytes[at + s - 4] >> 2) & 48)
}

/** Six-bit minimum of sub-block `s`: bytes 4–7 have the first four; high halves of 8–11, tops of 4–7 the rest. */
function subMin(bytes: Bytes, at: number, s: number): number {
  return s < 4 ? bytes[at + s + 4] & 63 : (bytes[at + s + 4] >> 4) | ((bytes[at + s] >> 2) & 48)
}

/** [128 bytes of low halves, 64 bytes of high two bits, 16 int8 scales, d]. */
function sixBits(bytes: Bytes, out: Float32Array): void {
  const scales = halves(bytes, 210, 208)
  for (let b = 0, base = 0, o = 0; b < scales.length; b++, base += 210)
    for (let group = 0; group < 8; group++, o += 32) {
      const half = group >> 2
      const low = base + half * 64 + (group & 1) * 32
      const lowShift = (group & 2) * 2
      const high = base + 128 + half * 32
      const highShift = (group & 3) * 2
      const first = scales[b] * ((bytes[base + 192 + group * 2] << 24) >> 24)
      const second = scales[b] * ((bytes[base + 193 + group * 2] << 24) >> 24)
      for (let j = 0; j < 32; j++) {
        const q = ((bytes[low + j] >> lowShift) & 15) | (((bytes[high + j] >> highShift) & 3) << 4)
        out[o + j] = (j < 16 ? first : second) * (q - 32)
      }
    }
}

/** [16 bytes of 4-bit scales and minima, 64 bytes, d, dmin]: 32 bytes hold four sub-blocks of 32, two scales each. */
function twoBits(bytes: Bytes, out: Float32Array): void {
  const scales = halves(bytes, 84, 80)
  const mins = halves(bytes, 84, 82)
  for (let b = 0, base = 0, o = 0; b < scales.length; b++, base += 84)
    for (let s = 0; s < 16; s++, o += 16) {
      const d = scales[b] * (bytes[base + s] & 15)
      const m = mins[b] * (bytes[base + s] >> 4)
      const at = base + 16 + (s >> 3) * 32 + (s & 1) * 16
      const shift = s & 6
      for (let j = 0; j < 16; j++) out[o + j] = d * ((bytes[at + j] >> shift) & 3) - m
    }
}

/** [32 bytes of third bits, 64 bytes as in `twoBits`, 12 bytes of scales, d]: bit i serves sub-blocks 2i, 2i + 1. */
function threeBits(bytes: Bytes, out: Float32Array): void {
  const scales = halves(bytes, 110, 108)
  for (let b = 0, base = 0, o = 0; b < scales.length; b++, base += 110)
    for (let s = 0; s < 16; s++, o += 16) {
      // Low halves of the first eight scales, then of the others, and the two bits above them in the last four bytes.
      const low = (bytes[base + 96 + (s & 7)] >> ((s >> 3) * 4)) & 15
      const high = (bytes[base + 104 + (s & 3)] >> ((s >> 2) * 2)) & 3
      const d = scales[b] * ((low | (high << 4)) - 32)
      const offset = (s & 1) * 16
      const at = base + 32 + (s >> 3) * 32 + offset
      const shift = s & 6
      for (let j = 0; j < 16; j++) {
        const third = (bytes[base + offset + j] >> (s >> 1)) & 1
        out[o + j] = d * (((bytes[at + j] >> shift) & 3) - (third ? 0 : 4))
      }
    }
}

/** Of IQ4_NL and IQ4_XS: ggml-common.h, `kvalues_iq4nl`. */
const VALUES = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]

/** [d, 16 bytes], as `fourBits`; or [d, 2 bytes of scales' high bits, 4 bytes of low bits, 8 times 16 bytes]. */
function fixedValues(bytes: Bytes, out: Float32Array, stride: number, size: number): void {
  const scales = halves(bytes, stride, 0)
  for (let b = 0, base = 0, o = 0; b < scales.length; b++, base += stride)
    for (let s = 0; s < size / 32; s++, o += 32) {
      const low = (bytes[base + 4 + (s >> 1)] >> ((s & 1) * 4)) & 15
      const high = ((bytes[base + 2] | (bytes[base + 3] << 8)) >> (2 * s)) & 3
      const d = scales[b] * (size > 32 ? (low | (high << 4)) - 32 : 1)
      const at = base + stride - size / 2 + s * 16
      for (let j = 0; j < 16; j++) {
        out[o + j] = d * VALUES[bytes[at + j] & 15]
        out[o + j + 16] = d * VALUES[bytes[at + j] >> 4]
      }
    }
}
