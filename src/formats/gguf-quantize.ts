// Float32 values to block-quantised types of GGUF, bit for bit as llama.cpp without an importance matrix. Types with
// blocks of 32 are here, types with blocks of 256 in `gguf-quantize-k.ts`.
//   Q8_0: d = max|x| / 127, q = x/d;  Q4_0, Q5_0: d = −x/8 or −x/16 of the largest |x|, q = x/d + 8 or 16
//   Q4_1, Q5_1: d = (max − min)/15 or /31, q = (x − min)/d
// Source: ggml/src/ggml-quants.c, `quantize_row_*_ref`: all in float32, hence `fround`. The oracle of the test
// is ggml for x86-64 without fused multiply-add (test/fixtures/gguf/make_quantized.py).
import { fromFloat32 } from './dtype.ts'
import { BLOCK_CODES } from './gguf-codes.ts'
import { QUANTIZED_BLOCKS } from './gguf-dequantize.ts'
import { quantizeQ4K, quantizeQ5K, quantizeQ6K } from './gguf-quantize-k.ts'
import type { QuantizedType } from './tensors.ts'

type Bytes = Uint8Array<ArrayBuffer>
export type Quantizer = (values: Float32Array, out: Bytes) => void

const fround = Math.fround

const QUANTIZERS = {
  Q8_0: eightBits,
  Q4_0: (values, out) => fewBits(values, out, 'Q4_0', false),
  Q4_1: (values, out) => fewBits(values, out, 'Q4_1', true),
  Q5_0: (values, out) => fewBits(values, out, 'Q5_0', false),
  Q5_1: (values, out) => fewBits(values, out, 'Q5_1', true),
  Q4_K: quantizeQ4K,
  Q5_K: quantizeQ5K,
  Q6_K: quantizeQ6K,
} satisfies Record<QuantizedType, Quantizer>

/**
 * Blocks of `values`, in order.
 * @throws RangeError where the number of values is no multiple of the block's.
 */
export function quantize(values: Float32Array, type: QuantizedType): Bytes {
  const block = QUANTIZED_BLOCKS[type]
  if (values.length % block.elements !== 0)
    throw new RangeError(`${values.length} values are no whole number of ${type} blocks`)
  const out = new Uint8Array((values.length / block.elements) * block.bytes)
  QUANTIZERS[type](values, out)
  return out
}

/** Writes `scales` as float16, one at the start of every block of `stride` bytes. */
function putHalves(out: Bytes, stride: number, offset: number, scales: Float32Array): void {
  const halves = fromFloat32(scales, 'F16')
  for (let b = 0, at = offset; b < scales.length; b++, at += stride) {
    out[at] = halves[2 * b]
    out[at + 1] = halves[2 * b + 1]
  }
}

/** [d, 32 int8]. */
function eightBits(values: Float32Array, out: Bytes): void {
  const scales = new Float32Array(values.length / 32)
  const signed = new Int8Array(out.buffer)
  for (let b = 0, at = 0, o = 2; b < scales.length; b++, at += 32, o += 34) {
    let largest = 0
    for (let j = 0; j < 32; j++) largest = Math.max(largest, Math.abs(values[at + j]))
    const d = fround(largest / 127)
    const inverse = d === 0 ? 0 : fround(1 / d)
    scales[b] = d
    for (let j = 0; j < 32; j++) {
      const x = fround(values[at + j] * inverse)
      signed[o + j] = x < 0 ? -Math.floor(0.5 - x) : Math.floor(x + 0.5) // half away from zero
    }
  }
  putHalves(out, 34, 0, scales)
}

/** [d, m?, codes]; from a minimum (Q4_1, Q5_1) or around the middle. */
function fewBits(values: Float32Array, out: Bytes, type: QuantizedType, fromMinimum: boolean): void {
  const { levels, put } = BLOCK_CODES[type]
  const stride = QUANTIZED_BLOCKS[type].bytes
  const scales = new Float32Array(values.length / 32)
  const minima = new Float32Array(scales.length)
  const offset = fromMinimum ? 0.5 : levels / 2 + 0.5
  const q = new Uint8Array(32)
  for (let b = 0, from = 0, base = 0; b < scales.length; b++, from += 32, base += stride) {
    const x = values.subarray(from, from + 32)
    const low = fromMinimum ? x.reduce((least, value) => Math.min(least, value)) : 0
    const high = x.reduce((most, value) => Math.max(most, value))
    const d = fround(fromMinimum ? fround(high - low) / (levels - 1) : largest(x) / (-levels / 2))
    const inverse = d === 0 ? 0 : fround(1 / d)
    scales[b] = d
    minima[b] = low
    for (let j = 0; j < 32; j++) {
      const scaled = fround(fround(x[j] - low) * inverse)
      q[j] = Math.min(levels - 1, fround(scaled + offset) & 255)
    }
    put(q, out, base)
  }
  putHalves(out, stride, 0, scales)
  if (fromMinimum) putHalves(out, stride, 2, minima)
}

/** The value of largest magnitude, the first of equals. */
const largest = (x: Float32Array): number =>
  x.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0)
