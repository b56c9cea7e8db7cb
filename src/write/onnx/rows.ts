// Matrices of 8 bits with a scale and a zero point for each row, for DynamicQuantizeLinear, MatMulInteger and
// DequantizeLinear: w ≈ scale · (q − zero) over the row's range with 0 in it, scale = (max − min) / 255,
// zero = round(−min / scale). The bytes are those of ONNX Runtime's quantize_dynamic with per_channel and QUInt8
// (python/tools/quantization/quant_utils.py).
import type { Floats } from '../../formats/tensors.ts'
import { type Encoding, floatBytes } from './encoding.ts'

const MAX = 255
/** The smallest normal float32: rows whose scale would be below it are all zeros, as there. */
const TINY = 2 ** -126

/** @param transposed store [columns, rows], as MatMulInteger multiplies */
export const inRows = (transposed: boolean): Encoding => ({
  transposed,
  parts: (rows, columns) => [
    { suffix: '_quantized', type: 'uint8', shape: transposed ? [columns, rows] : [rows, columns] },
    { suffix: '_scale', type: 'float32', shape: [rows] },
    { suffix: '_zero_point', type: 'uint8', shape: [rows] },
  ],
  encode(values, columns) {
    const { codes, scales, zeros } = quantise(values, columns)
    return [transposed ? transpose(codes, columns) : codes, floatBytes(scales, 'float32'), zeros]
  },
  round(values, columns) {
    const { codes, scales, zeros } = quantise(values, columns)
    const out = new Float32Array(values.length)
    for (let i = 0; i < out.length; i++) {
      const row = Math.floor(i / columns)
      out[i] = (codes[i] - zeros[row]) * scales[row]
    }
    return out
  },
})

function quantise(values: Floats, columns: number) {
  const rows = values.length / columns
  const codes = new Uint8Array(values.length) // [rows, columns]
  const scales = new Float32Array(rows)
  const zeros = new Uint8Array(rows)
  for (let row = 0; row < rows; row++) {
    const at = row * columns
    let low = 0
    let high = 0
    for (let i = at; i < at + columns; i++) {
      if (values[i] < low) low = values[i]
      if (values[i] > high) high = values[i]
    }
    const scale = (high - low) / MAX
    scales[row] = scale < TINY ? 1 : scale
    zeros[row] = scale < TINY ? 0 : roundHalfEven(-low / scale)
    for (let i = at; i < at + columns; i++)
      codes[i] = Math.min(MAX, Math.max(0, roundHalfEven(Math.fround(values[i] / scales[row])) + zeros[row]))
  }
  return { codes, scales, zeros }
}

/** As numpy rounds. */
function roundHalfEven(x: number): number {
  const floor = Math.floor(x)
  if (x - floor !== 0.5) return Math.round(x)
  return floor % 2 === 0 ? floor : floor + 1
}

function transpose(codes: Uint8Array, columns: number): Uint8Array {
  const rows = codes.length / columns
  const out = new Uint8Array(codes.length)
  for (let row = 0; row < rows; row++) for (let c = 0; c < columns; c++) out[c * rows + row] = codes[row * columns + c]
  return out
}
