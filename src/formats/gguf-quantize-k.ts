// The K-quants of GGUF: super-blocks of 256 values whose sub-blocks have quantised scales.
//   Q4_K, Q5_K: 8 sub-blocks of 32, x ≈ scale·q − min; scale and min by weighted least squares, a few spreads tried
//   Q6_K: 16 sub-blocks of 16, x ≈ scale·(q − 32); scale by least squares over 19 tries, weights x²
// Source: ggml/src/ggml-quants.c, `make_qkx2_quants`, `make_qx_quants`, `quantize_row_q{4,5,6}_K_ref`, in float32.
import { fromFloat32, toFloat32 } from './dtype.ts'
import { BLOCK_CODES } from './gguf-codes.ts'
import { QUANTIZED_BLOCKS } from './gguf-dequantize.ts'
import type { QuantizedType } from './tensors.ts'

type Bytes = Uint8Array<ArrayBuffer>

const fround = Math.fround
const TENTH = fround(0.1)
/** Sub-blocks whose largest scale is below this are zeros (GROUP_MAX_EPS). */
const EPSILON = fround(1e-15)

/** Adding 1.5 · 2^23 leaves the nearest integer, ties to even, in the low bits of a float32. */
const MAGIC = 12582912
const float = new Float32Array(1)
const bits = new Int32Array(float.buffer)

/** Nearest integer of a float32; beyond ±2^22, and for infinities, whatever the low bits say, as in ggml. */
function nearest(x: number): number {
  if (x > -4194304 && x < 4194304) return fround(x + MAGIC) - MAGIC
  float[0] = x + MAGIC
  return (bits[0] & 0x7fffff) - 0x400000
}

const clamp = (x: number, low: number, high: number): number => Math.max(low, Math.min(high, x))

/** A float32 as float16: its two bytes, and its value. */
function half(x: number): { bytes: Bytes; value: number } {
  const bytes = fromFloat32(Float32Array.of(x), 'F16')
  return { bytes, value: toFloat32(bytes, 'F16')[0] }
}

/** How a sub-block of 32 is fitted: `steps + 1` tries with `levels + from + i/10` steps over the spread. */
interface Fit {
  readonly levels: number
  readonly from: number
  readonly steps: number
}

export const quantizeQ4K = (values: Float32Array, out: Bytes): void =>
  superBlocks(values, out, 'Q4_K', { levels: 15, from: -1, steps: 20 })
export const quantizeQ5K = (values: Float32Array, out: Bytes): void =>
  superBlocks(values, out, 'Q5_K', { levels: 31, from: -0.5, steps: 15 })

const weights = new Float32Array(32)
const tried = new Uint8Array(32)

/** [d, dmin, 12 bytes of six-bit scales and minima, 32 bytes of fifth bits?, 128 bytes]. */
function superBlocks(values: Float32Array, out: Bytes, type: QuantizedType, fit: Fit): void {
  const { put } = BLOCK_CODES[type]
  const stride = QUANTIZED_BLOCKS[type].bytes
  const q = new Uint8Array(256)
  const scales = new Float32Array(8)
  const minima = new Float32Array(8)
  for (let from = 0, base = 0; from < values.length; from += 256, base += stride) {
    const x = values.subarray(from, from + 256)
    let largestScale = 0
    let largestMinimum = 0
    for (let s = 0; s < 8; s++) {
      const sub = x.subarray(s * 32, s * 32 + 32)
      const { scale, minimum } = fitScaleAndMinimum(sub, q.subarray(s * 32, s * 32 + 32), fit)
      scales[s] = scale
      minima[s] = minimum
      if (scale > largestScale) largestScale = scale
      if (minimum > largestMinimum) largestMinimum = minimum
    }
    const toScale = largestScale > 0 ? fround(63 / largestScale) : 0
    const toMinimum = largestMinimum > 0 ? fround(63 / largestMinimum) : 0
    const d = half(fround(largestScale / 63))
    const dmin = half(fround(largestMinimum / 63))
    out.set(d.bytes, base)
    out.set(dmin.bytes, base + 2)
    for (let s = 0; s < 8; s++) {
      const scale = Math.min(63, nearest(fround(toScale * scales[s])) & 255)
      const minimum = Math.min(63, nearest(fround(toMinimum * minima[s])) & 255)
      putSixBits(out, base + 4, s, scale, minimum)
      const step = fround(d.value * scale)
      if (step === 0) continue
      const shift = fround(dmin.value * minimum)
      for (let i = s * 32; i < s * 32 + 32; i++)
        q[i] = clamp(nearest(fround(fround(x[i] + shift) / step)), 0, fit.levels)
    }
    put(q, out, base)
  }
}

/** Six-bit scale and minimum of sub-block `s` into the 12 bytes at `at`; `gguf-dequantize.ts` reads them. */
function putSixBits(out: Bytes, at: number, s: number, scale: number, minimum: number): void {
  if (s < 4) {
    out[at + s] = scale
    out[at + s + 4] = minimum
  } else {
    out[at + s + 4] = (scale & 15) | ((minimum & 15) << 4)
    out[at + s - 4] |= (scale >> 4) << 6
    out[at + s] |= (minimum >> 4) << 6
  }
}

/** Least squares of `x ≈ scale·q − minimum` with weights rms(x) + |x|; fills `q`. */
function fitScaleAndMinimum(x: Float32Array, q: Uint8Array, { levels, from, steps }: Fit) {
  let squares = 0
  for (let i = 0; i < 32; i++) squares = fround(squares + fround(x[i] * x[i]))
  const rms = fround(Math.sqrt(fround(squares / 32)))
  for (let i = 0; i < 32; i++) weights[i] = rms + Math.abs(x[i])
  let min = x[0]
  let max = x[0]
  let sumW = weights[0]
  let sumX = fround(sumW * x[0])
  for (let i = 1; i < 32; i++) {
    if (x[i] < min) min = x[i]
    if (x[i] > max) max = x[i]
    sumW = fround(sumW + weights[i])
    sumX = fround(sumX + fround(weights[i] * x[i]))
  }
  if (min > 0) min = 0
  if (max === min) {
    q.fill(0)
    return { scale: 0, minimum: -min }
  }
  const first = fround(levels / fround(max - min))
  let scale = fround(1 / first)
  for (let i = 0; i < 32; i++) q[i] = clamp(nearest(fround(first * fround(x[i] - min))), 0, levels)
  let best = weightedError(x, q, scale, min)
  for (let step = 0; step <= steps; step++) {
    const inverse = fround(fround(fround(from + fround(TENTH * step)) + levels) / fround(max - min))
    let sumL = 0
    let sumL2 = 0
    let sumXL = 0
    for (let i = 0; i < 32; i++) {
      const l = clamp(nearest(fround(inverse * fround(x[i] - min))), 0, levels)
      tried[i] = l
      const weighted = fround(weights[i] * l)
      sumL = fround(sumL + weighted)
      sumL2 = fround(sumL2 + fround(weighted * l))
      sumXL = fround(sumXL + fround(weighted * x[i]))
    }
    const determinant = fround(fround(sumW * sumL2) - fround(sumL * sumL))
    if (!(determinant > 0)) continue
    let newScale = fround(fround(fround(sumW * sumXL) - fround(sumX * sumL)) / determinant)
    let newMin = fround(fround(fround(sumL2 * sumX) - fround(sumL * sumXL)) / determinant)
    if (newMin > 0) {
      newMin = 0
      newScale = fround(sumXL / sumL2)
    }
    const error = weightedError(x, tried, newScale, newMin)
    if (error < best) {
      q.set(tried)
      best = error
      scale = newScale
      min = newMin
    }
  }
  return { scale, minimum: -min }
}

function weightedError(x: Float32Array, q: Uint8Array, scale: number, min: number): number {
  let error = 0
  for (let i = 0; i < 32; i++) {
    const difference = fround(fround(fround(scale * q[i]) + min) - x[i])
    error = fround(error + fround(weights[i] * fround(difference * difference)))
  }
  return error
}

/** [128 bytes of low halves, 64 bytes of high two bits, 16 int8 scales, d]. */
export function quantizeQ6K(values: Float32Array, out: Bytes): void {
  const q = new Uint8Array(256)
  const scales = new Float32Array(16)
  const signed = new Int8Array(out.buffer)
  for (let from = 0, base = 0; from < values.length; from += 256, base += 210) {
    const x = values.subarray(from, from + 256)
    let extreme = 0
    for (let s = 0; s < 16; s++) {
      scales[s] = fitScale(x.subarray(s * 16, s * 16 + 16), q.subarray(s * 16, s * 16 + 16))
      if (Math.abs(scales[s]) > Math.abs(extreme)) extreme = scales[s]
    }
    if (Math.abs(extreme) < EPSILON) continue
    const inverse = fround(-128 / extreme)
    const d = half(fround(1 / inverse))
    out.set(d.bytes, base + 208)
    for (let s = 0; s < 16; s++) {
      signed[base + 192 + s] = Math.min(127, nearest(fround(inverse * scales[s])))
      const step = fround(d.value * signed[base + 192 + s])
      if (step === 0) continue
      for (let i = s * 16; i < s * 16 + 16; i++) q[i] = clamp(nearest(fround(x[i] / step)), -32, 31) + 32
    }
    BLOCK_CODES.Q6_K.put(q, out, base)
  }
}

/** Least squares of `x ≈ scale·(q − 32)` with weights x²; fills `q` with 0 to 63. */
function fitScale(x: Float32Array, q: Uint8Array): number {
  let extreme = 0
  for (let i = 0; i < 16; i++) if (Math.abs(x[i]) > Math.abs(extreme)) extreme = x[i]
  if (Math.abs(extreme) < EPSILON) {
    q.fill(0)
    return 0
  }
  let scale = 0
  let best = 0
  for (const step of TRIES) {
    const inverse = fround(-fround(32 + fround(TENTH * step)) / extreme)
    let sumXL = 0
    let sumL2 = 0
    for (let i = 0; i < 16; i++) {
      const l = clamp(nearest(fround(inverse * x[i])), -32, 31)
      const weight = fround(x[i] * x[i])
      sumXL = fround(sumXL + fround(fround(weight * x[i]) * l))
      sumL2 = fround(sumL2 + fround(fround(weight * l) * l))
    }
    if (step !== 0 && !(sumL2 > 0 && fround(sumXL * sumXL) > fround(best * sumL2))) continue
    for (let i = 0; i < 16; i++) q[i] = clamp(nearest(fround(inverse * x[i])), -32, 31) + 32
    scale = sumL2 === 0 ? 0 : fround(sumXL / sumL2)
    best = fround(scale * sumXL)
  }
  return scale
}

/** The plain spread first, then tenths of a step to both sides. */
const TRIES = [0, -9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9]
