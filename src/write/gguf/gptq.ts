// Rounds a weight matrix W to a block-quantised type of GGUF by its layer's inputs X (GPTQ), for pruned layers.
//   Ŵ ≈ argmin ‖X (W − Ŵ)ᵀ‖², column by column from the last to the first: later columns make up for earlier rounding.
//   G = XᵀX + δI = L Lᵀ;  Ŵ_k = the grid point nearest to T_k = W_k + Σ_{i>k} (W_i − Ŵ_i) L_ik / L_kk
//   ‖X (W − Ŵ)ᵀ‖² + δ ‖W − Ŵ‖² = Σ_k L_kk² ‖T_k − Ŵ_k‖²
// The first grid of a block has the scales that llama.cpp gives T. A few times the grid then becomes the least-squares
// fit of this sum for the codes found; where a block has scales of scales, of a part of T (`PARTS`). The grid with the
// least loss stays. Last, each code takes the value that is best beside all others.
// Source: Frantar et al., arXiv 2210.17323, in the form of Chee et al., arXiv 2307.13304 (LDLQ), which needs no
// inverse; for the last step Behdin et al., arXiv 2309.01885 (QuantEase), coordinate descent.
import { concatBytes } from '../../base/bytes.ts'
import type { Engine } from '../../engine/engine.ts'
import { type Doubles, type Matrix, matrix, rowsOf } from '../../engine/linalg/matrix.ts'
import { transposed } from '../../engine/linalg/scatter.ts'
import { fromFloat32 } from '../../formats/dtype.ts'
import { BLOCK_CODES } from '../../formats/gguf-codes.ts'
import { dequantize, QUANTIZED_BLOCKS } from '../../formats/gguf-dequantize.ts'
import { quantize } from '../../formats/gguf-quantize.ts'
import type { Floats, QuantizedType } from '../../formats/tensors.ts'
import { allColumns } from '../../method/select/top.ts'
import { factorDamped } from '../../method/statistics/system.ts'

/** δ as a part of the mean of the diagonal, as in the paper. */
const DAMP = 0.01
/** Of T, that scales of scales are fitted to: finer steps for all at the price of the largest. */
const PARTS = [0.95, 0.9, 0.85]
/** Times that the scale of a block is fitted to its codes, and these to it. */
const FITS = 3
/** Of coordinate descent; the first brings most. */
const SWEEPS = 2
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
  const system = await factorDamped(engine.linalg.factor, statistics, undefined, allColumns(n), { damp: DAMP, layer })
  if (!system) return quantize(values, type) // inputs of zeros
  const upper = system.factor.upper()
  const parts: Uint8Array[] = []
  for (let first = 0; first < values.length; first += ROWS * n) {
    const { out, lost } = await roundRows(engine, values.subarray(first, first + ROWS * n), upper, type)
    await descend(engine, lost, gram, system.damping, out, type)
    parts.push(out)
  }
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
    const own = matrix(size, size) // L_ik / L_kk [k, i], of the columns i of the block
    const later = matrix(size, n - end) // of those after it
    for (let k = 0; k < size; k++) {
      const row = upper.data.subarray((first + k) * n, (first + k + 1) * n)
      pivots[k] = row[first + k]
      for (let i = 0; i < size; i++) own.data[k * size + i] = row[first + i] / pivots[k]
      for (let i = 0; i < n - end; i++) later.data[k * (n - end) + i] = row[end + i] / pivots[k]
    }
    const fed = matrix(size, rows)
    await linalg.gemm(later, rowsOf(lost, end), fed)
    const w = new Float64Array(rows * size)
    for (let r = 0; r < rows; r++) w.set(values.subarray(r * n + first, r * n + end), r * size)
    const t = transposed(fed.data, rows) // [rows, size]
    for (let i = 0; i < t.length; i++) t[i] += w[i]
    const { blocks, left } = roundBlocks(w, t, pivots, own.data, type)
    for (let r = 0; r < rows; r++)
      out.set(blocks.subarray(r * block.bytes, (r + 1) * block.bytes), ((r * n + first) / size) * block.bytes)
    lost.data.set(transposed(left, size), first * rows)
  }
  return { out, lost: Float32Array.from(transposed(lost.data, rows)) } // W − Ŵ [rows, n]
}

/**
 * One block of each row. @param w W [rows, size] @param t what is wanted by what later blocks lost [rows, size]
 * @param pivots L_kk @param feedback L_ik / L_kk [k, i]
 */
function roundBlocks(w: Doubles, t: Doubles, pivots: Doubles, feedback: Doubles, type: QuantizedType) {
  const { elements: size, bytes } = QUANTIZED_BLOCKS[type]
  const { levels, zero, put } = BLOCK_CODES[type]
  const count = w.length / size
  const best = {
    blocks: new Uint8Array(count * bytes),
    codes: new Uint8Array(w.length),
    left: new Float64Array(w.length), // W − Ŵ
    errors: new Float64Array(count).fill(Number.POSITIVE_INFINITY),
  }
  const lost = new Float64Array(size)
  const codes = new Uint8Array(size)
  const wantedAt = (first: number, k: number) => {
    let wanted = t[first + k]
    for (let i = k + 1; i < size; i++) wanted += feedback[k * size + i] * lost[i]
    return wanted
  }
  const unrounded = new Float32Array(w.length) // T where columns are not rounded: what is to be expected of it
  for (let first = 0; first < w.length; first += size)
    for (let k = size - 1; k >= 0; k--) lost[k] = w[first + k] - (unrounded[first + k] = wantedAt(first, k))
  const attempt = (scales: Uint8Array<ArrayBuffer>) => {
    const grid = gridOf(scales, type)
    for (let b = 0, first = 0, at = 0; b < count; b++, first += size, at += bytes) {
      let error = 0
      for (let k = size - 1; k >= 0 && error < best.errors[b]; k--) {
        const wanted = wantedAt(first, k)
        const low = grid.least[first + k]
        const step = (grid.most[first + k] - low) / (levels - 1)
        codes[k] = step === 0 ? 0 : Math.max(0, Math.min(levels - 1, Math.round((wanted - low) / step)))
        const value = low + step * codes[k]
        lost[k] = w[first + k] - value
        error += (pivots[k] * (wanted - value)) ** 2
      }
      if (!(error < best.errors[b])) continue
      best.errors[b] = error
      best.left.set(lost, first)
      best.codes.set(codes, first)
      best.blocks.set(grid.blocks.subarray(at, at + bytes), at)
      put(codes, best.blocks, at)
    }
  }
  attempt(quantize(unrounded, type))
  if (zero !== undefined) {
    const u = feedback.map((f, at) => f * pivots[Math.floor(at / size)])
    const target = timesUpper(u, unrounded, size)
    for (let i = 0; i < FITS; i++) attempt(fitScales(best.codes, target, u, type))
  } else
    for (const part of PARTS) {
      const less = unrounded.map(v => part * v)
      attempt(quantize(less, type))
    }
  return best
}

/** Of each block x of `size` numbers U x. */
function timesUpper(u: Doubles, x: ArrayLike<number>, size: number): Doubles {
  const out = new Float64Array(x.length)
  for (let first = 0; first < x.length; first += size)
    for (let k = 0; k < size; k++) {
      let sum = 0
      for (let i = k; i < size; i++) sum += u[k * size + i] * x[first + i]
      out[first + k] = sum
    }
  return out
}

/**
 * Blocks whose scale, and minimum, lose least with these codes: least squares of ‖U (T − d q − m)‖.
 * @param target U T, of the T of a block in which nothing is rounded @param u Lᵀ in the block
 */
function fitScales(codes: Uint8Array, target: Doubles, u: Doubles, type: QuantizedType) {
  const { elements: size, bytes } = QUANTIZED_BLOCKS[type]
  const { zero } = BLOCK_CODES[type]
  const own = zero === 'own'
  const ones = timesUpper(u, new Float64Array(size).fill(1), size)
  const squares = own ? ones.reduce((sum, v) => sum + v * v, 0) : 1
  const products = timesUpper(u, codes, size)
  const scales: number[] = []
  for (let first = 0; first < codes.length; first += size) {
    let [qq, q1, qt, t1] = [0, 0, 0, 0]
    for (let k = 0; k < size; k++) {
      const q = products[first + k] - (own ? 0 : zero! * ones[k])
      qq += q * q
      qt += q * target[first + k]
      if (!own) continue
      q1 += q * ones[k]
      t1 += ones[k] * target[first + k]
    }
    const determinant = qq * squares - q1 * q1 // 0 where codes are alike: the block stays as it was
    scales.push((qt * squares - t1 * q1) / determinant)
    if (own) scales.push((t1 * qq - qt * q1) / determinant)
  }
  const halves = fromFloat32(Float32Array.from(scales), 'F16')
  const count = codes.length / size
  const length = halves.length / count
  const blocks = new Uint8Array(count * bytes)
  for (let b = 0; b < count; b++) blocks.set(halves.subarray(b * length, (b + 1) * length), b * bytes)
  return blocks
}

/**
 * Puts each code where it loses least, all others being what they are. No sweep makes the whole worse.
 * @param lost W − Ŵ [rows, n] @param out blocks of Ŵ, changed in place
 */
async function descend(
  { linalg }: Engine,
  lost: Floats,
  gram: Floats,
  damping: number,
  out: Uint8Array<ArrayBuffer>,
  type: QuantizedType,
) {
  const n = Math.sqrt(gram.length)
  const { elements: size, bytes } = QUANTIZED_BLOCKS[type]
  const { levels, put } = BLOCK_CODES[type]
  const slopes = await linalg.multiply(lost, gram, n) // (W − Ŵ) XᵀX
  const values = dequantize(out, type)
  const grid = gridOf(out, type)
  const codes = new Uint8Array(n)
  for (let first = 0; first < lost.length; first += n) {
    const [slope, error] = [slopes, lost].map(all => all.subarray(first, first + n))
    const least = grid.least.subarray(first, first + n)
    const steps = least.map((low, k) => (grid.most[first + k] - low) / (levels - 1))
    for (let k = 0; k < n; k++) codes[k] = steps[k] === 0 ? 0 : Math.round((values[first + k] - least[k]) / steps[k])
    for (let sweep = 0; sweep < SWEEPS; sweep++)
      for (let k = n - 1; k >= 0; k--) {
        if (steps[k] === 0) continue
        const by = (slope[k] + damping * error[k]) / (gram[k * n + k] + damping)
        const code = Math.max(0, Math.min(levels - 1, Math.round(codes[k] + by / steps[k])))
        if (code === codes[k]) continue
        const change = (code - codes[k]) * steps[k]
        codes[k] = code
        error[k] -= change
        for (let j = 0, row = k * n; j < n; j++) slope[j] -= change * gram[row + j]
      }
    for (let k = 0, at = (first / size) * bytes; k < n; k += size, at += bytes)
      put(codes.subarray(k, k + size), out, at)
  }
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
