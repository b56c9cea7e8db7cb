// Matrices in blocks of 4 or 8 bits, for the operator MatMulNBits of `com.microsoft`. A row is cut into blocks of 32.
// A block has one scale, its value of largest magnitude over −2^(bits−1), and holds q = round(w / scale) + 2^(bits−1).
// 4-bit values lie two to a byte, the first in the low half. The bytes are those of ONNX Runtime's
// MatMulNBitsQuantizer with is_symmetric (core/mlas/lib/q4_dq.cpp, BlockwiseQuantizer).
import type { Floats } from '../../formats/tensors.ts'
import { type Encoding, type FloatType, floatBytes, rounded } from './encoding.ts'

/** Weights that share a scale: the quantiser's default, and that of published models. */
export const BLOCK = 32

export const blocksOf = (columns: number): number => Math.ceil(columns / BLOCK)

/** @param type of the scales, and of what the matrix is multiplied by */
export const inBlocks = (bits: 4 | 8, type: FloatType): Encoding => ({
  parts: (rows, columns) => [
    { suffix: `_Q${bits}`, type: 'uint8', shape: [rows, blocksOf(columns), (BLOCK * bits) / 8] },
    { suffix: '_scales', type, shape: [rows, blocksOf(columns)] },
  ],
  encode(values, columns) {
    const { codes, scales } = quantise(values, columns, bits)
    return [bits === 4 ? pack(codes) : codes, floatBytes(scales, type)]
  },
  round(values, columns) {
    const { codes, scales } = quantise(values, columns, bits)
    return dequantise(codes, rounded(scales, type), columns, bits)
  },
})

/** Codes [rows, blocks · 32] and scales [rows, blocks]. What lies beyond a row's end is 0. */
function quantise(values: Floats, columns: number, bits: 4 | 8) {
  const zero = 2 ** (bits - 1)
  const max = 2 * zero - 1
  const blocks = blocksOf(columns)
  const rows = values.length / columns
  const codes = new Uint8Array(rows * blocks * BLOCK)
  const scales = new Float32Array(rows * blocks)
  for (let b = 0; b < rows * blocks; b++) {
    const inRow = (b % blocks) * BLOCK
    const from = Math.floor(b / blocks) * columns + inRow
    const count = Math.min(BLOCK, columns - inRow)
    let extreme = 0
    for (let i = from; i < from + count; i++) if (Math.abs(values[i]) > Math.abs(extreme)) extreme = values[i]
    scales[b] = extreme / -zero
    const inverse = scales[b] === 0 ? 0 : Math.fround(1 / scales[b])
    for (let i = 0; i < count; i++) {
      // float32 at each step, as in ONNX Runtime
      const q = Math.floor(Math.fround(Math.fround(values[from + i] * inverse) + zero) + 0.5)
      codes[b * BLOCK + i] = Math.min(max, Math.max(0, q))
    }
  }
  return { codes, scales }
}

function dequantise(codes: Uint8Array, scales: Floats, columns: number, bits: 4 | 8): Floats {
  const zero = 2 ** (bits - 1)
  const blocks = blocksOf(columns)
  const rows = scales.length / blocks
  const values = new Float32Array(rows * columns)
  for (let row = 0; row < rows; row++)
    for (let c = 0; c < columns; c++)
      values[row * columns + c] =
        (codes[row * blocks * BLOCK + c] - zero) * scales[row * blocks + Math.floor(c / BLOCK)]
  return values
}

function pack(codes: Uint8Array): Uint8Array {
  const packed = new Uint8Array(codes.length / 2)
  for (let i = 0; i < packed.length; i++) packed[i] = codes[2 * i] | (codes[2 * i + 1] << 4)
  return packed
}
