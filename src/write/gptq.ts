// Rounds a weight matrix W to a block-quantised type of GGUF by what its inputs X are (GPTQ). Called by `gguf.ts` for layers that pruning changed.
//   Ŵ ≈ argmin ‖X (W − Ŵ)ᵀ‖², column by column from the last to the first: the next ones make up for what a column's rounding loses.
//   XᵀX + δI = L Lᵀ;  Ŵ_k = what of its grid is nearest to T_k = W_k + Σ_{i>k} (W_i − Ŵ_i) L_ik / L_kk
//   ‖X (W − Ŵ)ᵀ‖² + δ ‖W − Ŵ‖² = Σ_k L_kk² ‖T_k − Ŵ_k‖²
// The grid of a block is that of the scales that llama.cpp gives its T when its turn comes, or a part of its T (`PARTS`): those with the least
// of that sum in the block. llama.cpp fits scales as if columns counted alike and none made up for others.
// Source: Frantar et al., arXiv 2210.17323, in the form of Chee et al., arXiv 2307.13304 (LDLQ), which needs no inverse.
import type { Engine } from '../engine/engine.ts'
import { concatBytes } from '../formats/bytes.ts'
import { BLOCK_CODES } from '../formats/gguf-codes.ts'
import { dequantize, QUANTIZED_BLOCKS } from '../formats/gguf-dequantize.ts'
import { quantize } from '../formats/gguf-quantize.ts'
import type { Floats, QuantizedType } from '../formats/tensors.ts'
import { type Doubles, type Matrix, matrix, rowsOf } from '../linalg/matrix.ts'
import { transposed } from '../linalg/scatter.ts'
import { allColumns } from '../select/top.ts'
import { factorDamped } from '../statistics/system.ts'

/** δ as a part of the mean of the diagonal, as in the paper. */
const DAMP = 0.01
/** Of T, that scales are fitted to: finer steps for all at the price of the largest. */
const PARTS = [1, 0.95, 0.9, 0.85]
/** Rows of W at once: all of a large matrix would take more memory in float64 than its Gram matrix. */
const ROWS = 1024

/** Blocks, as `quantize` gives. @param values W [rows, n] @param gram XᵀX [n, n] @param layer its name, for messages */
export async function quantizeByGram(
  engine: Engine,
  values: Floats,
  gram: Floats,
  type: QuantizedType,
  layer: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const n = Math.sqrt(gram.length)
  const statistics = { width: n, tokens: 1, gram, mean: new Float64Array(n) }
  const system = await factorDamped(engine, statistics, undefined, allColumns(n), { damp: DAMP, layer })
  if (!system) return quantize(values, type) // inputs of zeros
  const upper = system.factor.upper()
  const parts: Uint8Array[] = []
  for (let first = 0; first < values.length; first += ROWS * n)
    parts.push(await roundRows(engine, values.subarray(first, first + ROWS * n), upper, type))
  return concatBytes(parts)
}

/** @param upper Lᵀ */
async function roundRows({ linalg }: Engine, values: Floats, upper: Matrix, type: QuantizedType) {
  const n = upper.columns
  const rows = values.length / n
  const block = QUANTIZED_BLOCKS[type]
  const size = block.elements
  const out = new Uint8Array((values.length / size) * block.bytes)
  const lost = matrix(n, rows) // (W − Ŵ)ᵀ of the columns that are done
  for (let first = n - size; first >= 0; first -= size) {
    const end = first + size
    const pivots = new Float64Array(size)
    const feedback = [matrix(size, size), matrix(size, n - end)] // L_ik / L_kk [k, i], of the columns i of the block, and of those after it
    for (let k = 0; k < size; k++) {
      const row = upper.data.subarray((first + k) * n, (first + k + 1) * n)
      pivots[k] = row[first + k]
      for (const [{ data, columns }, from] of [
        [feedback[0], first],
        [feedback[1], end],
      ] as const)
        for (let i = 0; i < columns; i++) data[k * columns + i] = row[from + i] / pivots[k]
    }
    const fed = matrix(size, rows)
    await linalg.gemm(feedback[1], rowsOf(lost, end), fed)
    const w = new Float64Array(rows * size)
    for (let r = 0; r < rows; r++) w.set(values.subarray(r * n + first, r * n + end), r * size)
    const t = transposed(fed.data, rows) // [rows, size]
    for (let i = 0; i < t.length; i++) t[i] += w[i]
    const { blocks, left } = roundBlocks(w, t, pivots, feedback[0].data, type)
    for (let r = 0; r < rows; r++)
      out.set(blocks.subarray(r * block.bytes, (r + 1) * block.bytes), ((r * n + first) / size) * block.bytes)
    lost.data.set(transposed(left, size), first * rows)
  }
  return out
}

/**
 * One block of each row. @param w W [rows, size] @param t what is wanted by what later blocks lost [rows, size]
 * @param pivots L_kk @param feedback L_ik / L_kk [k, i]
 */
function roundBlocks(w: Doubles, t: Doubles, pivots: Doubles, feedback: Doubles, type: QuantizedType) {
  const { elements: size, bytes } = QUANTIZED_BLOCKS[type]
  const { levels, put } = BLOCK_CODES[type]
  const left = new Float64Array(w.length) // W − Ŵ
  const lost = new Float64Array(size)
  const codes = new Uint8Array(size)
  const wantedAt = (first: number, k: number) => {
    let wanted = t[first + k]
    for (let i = k + 1; i < size; i++) wanted += feedback[k * size + i] * lost[i]
    return wanted
  }
  const unrounded = new Float64Array(w.length) // T where columns are not rounded: what is to be expected of it
  for (let first = 0; first < w.length; first += size)
    for (let k = size - 1; k >= 0; k--) lost[k] = w[first + k] - (unrounded[first + k] = wantedAt(first, k))
  const grids = PARTS.map(part => gridOf(quantize(Float32Array.from(unrounded.map(v => part * v)), type), type))
  const blocks = new Uint8Array(grids[0].blocks.length)
  for (let first = 0, at = 0; first < w.length; first += size, at += bytes) {
    let least = Number.POSITIVE_INFINITY
    for (const grid of grids) {
      let error = 0
      for (let k = size - 1; k >= 0 && error < least; k--) {
        const wanted = wantedAt(first, k)
        const low = grid.least[first + k]
        const step = (grid.most[first + k] - low) / (levels - 1)
        codes[k] = step === 0 ? 0 : Math.max(0, Math.min(levels - 1, Math.round((wanted - low) / step)))
        const value = low + step * codes[k]
        lost[k] = w[first + k] - value
        error += (pivots[k] * (wanted - value)) ** 2
      }
      if (!(error < least)) continue
      least = error
      left.set(lost, first)
      blocks.set(grid.blocks.subarray(at, at + bytes), at)
      put(codes, blocks, at)
    }
  }
  return { blocks, left }
}

/** The least and the greatest value that each element of these blocks can have. Their codes become zeros. */
function gridOf(blocks: Uint8Array<ArrayBuffer>, type: QuantizedType) {
  const { from, to, least, greatest } = BLOCK_CODES[type]
  const { bytes } = QUANTIZED_BLOCKS[type]
  const fill = (byte: number) => {
    for (let at = 0; at < blocks.length; at += bytes) blocks.fill(byte, at + from, at + to)
    return blocks
  }
  const ends = { least: dequantize(fill(least), type), most: dequantize(fill(greatest), type) }
  return { ...ends, blocks: fill(0) }
}
