// Repairs what stays: least squares on the kept columns M in delta form, towards the output that the removed columns P gave.
//   W' = W_M + Δ,  Δ (G_MM + δI) = W_P G_PM,  δ = damp · mean(diag G)                    (arXiv 2501.09412, §3.3)
//   centred (where the layer has a bias): G − Nμμᵀ for G, and b' = b + W_P μ_P − Δ μ_M
// The errors follow from the normal equations without another pass: with R = G_MP W_Pᵀ,
//   before = ⟨W_P G_PP, W_P⟩,  after = before − ⟨Δᵀ, R⟩ − δ‖Δ‖²,  both relative to ⟨W G, W⟩.
import type { Statistics } from '../calibrate/gram.ts'
import type { Engine } from '../engine/engine.ts'
import { NumericError } from '../errors.ts'
import { cholesky, solve } from '../linalg/cholesky.ts'
import { gemm, type Matrix, matrix } from '../linalg/gemm.ts'

type Floats = Float32Array<ArrayBuffer>

export interface RestoreOptions {
  /** δ as a part of the mean of G's diagonal. */
  readonly damp: number
  /** Centre the activations and repair the bias. Ignored where there is no bias. */
  readonly center: boolean
  /** False leaves the kept columns as they are. */
  readonly restore: boolean
}

export interface Restored {
  readonly weight: Floats // [out, |M|]
  readonly bias?: Floats // [out]
  /** Squared output error on the calibration activations over the squared output: without and with restoration. */
  readonly errorBefore: number
  readonly errorAfter: number
  /** The `damp` that the factorisation took; larger than asked for where that failed. */
  readonly damp: number
}

/** Each failed factorisation raises the damping by this; after so many tries the Gram matrix is beyond repair. */
const DAMP_STEP = 10
const MAX_TRIES = 8

/**
 * @param weight [out, in] @param kept M, ascending @param removed P, ascending
 * @throws NumericError where activations are not finite, or no damping makes `G_MM` positive definite
 */
export async function restoreColumns(
  engine: Engine,
  weight: Floats,
  bias: Floats | undefined,
  statistics: Statistics,
  kept: Int32Array,
  removed: Int32Array,
  options: RestoreOptions,
): Promise<Restored> {
  const { width, gram, tokens, mean } = statistics
  const out = weight.length / width
  const center = options.center && bias !== undefined
  const g = (rows: Int32Array, columns: Int32Array, centred: boolean): Matrix => {
    const m = matrix(rows.length, columns.length)
    for (let i = 0, at = 0; i < rows.length; i++)
      for (let j = 0; j < columns.length; j++, at++)
        m.data[at] = gram[rows[i] * width + columns[j]] - (centred ? tokens * mean[rows[i]] * mean[columns[j]] : 0)
    return m
  }
  const wM = pick(weight, width, kept)
  const wP = pick(weight, width, removed)
  const gMP = g(kept, removed, false)
  const [total, before] = await energies(engine, wM, wP, g(kept, kept, false), gMP, g(removed, removed, false))
  if (!Number.isFinite(total))
    throw new NumericError('the calibration activations are not finite; the weights overflow in float32.')
  const relative = (error: number) => (total > 0 ? Math.max(0, error) / total : 0)
  const plain = { weight: new Float32Array(wM.data), bias, errorBefore: relative(before), damp: options.damp }
  if (!options.restore) return { ...plain, errorAfter: plain.errorBefore }

  const target = center ? g(kept, removed, true) : gMP
  const right = matrix(kept.length, out) // R = G_MP W_Pᵀ, then Δᵀ
  await gemm(engine, target, wP, right, { transB: true })
  const R = right.data.slice()
  const { damp, delta, damping } = await solveDamped(
    engine,
    g(kept, kept, center),
    right,
    statistics,
    center,
    options.damp,
  )

  // A mean that the bias can carry is no error once centred: ‖W_P μ_P‖² N of `before` goes.
  const shift = center ? meanShift(wP, removed, mean) : undefined
  let after = before - (shift ? tokens * shift.reduce((s, v) => s + v * v, 0) : 0)
  for (let i = 0; i < R.length; i++) after -= delta.data[i] * R[i] + damping * delta.data[i] ** 2
  const restored = wM.data.slice()
  for (let m = 0; m < kept.length; m++)
    for (let o = 0; o < out; o++) restored[o * kept.length + m] += delta.data[m * out + o]
  let newBias = bias
  if (shift) {
    for (let m = 0; m < kept.length; m++)
      for (let o = 0; o < out; o++) shift[o] -= delta.data[m * out + o] * mean[kept[m]]
    newBias = bias!.map((b, o) => b + shift[o])
  }
  return { ...plain, weight: new Float32Array(restored), bias: newBias, errorAfter: relative(after), damp }
}

/** Solves `(G_MM + δI) Δᵀ = R` in place, raising δ until the matrix factors. */
async function solveDamped(engine: Engine, gMM: Matrix, right: Matrix, s: Statistics, center: boolean, damp: number) {
  let diagonal = 0
  for (let j = 0; j < s.width; j++) diagonal += s.gram[j * s.width + j] - (center ? s.tokens * s.mean[j] ** 2 : 0)
  for (let attempt = 0, d = damp; attempt < MAX_TRIES; attempt++, d = d > 0 ? d * DAMP_STEP : 1e-8) {
    const damping = (d * diagonal) / s.width
    const damped = matrix(gMM.rows, gMM.columns, gMM.data.slice())
    for (let i = 0; i < damped.rows; i++) damped.data[i * damped.rows + i] += damping
    const factor = await cholesky(engine, damped)
    if (!factor) continue
    await solve(engine, factor, right)
    return { damp: d, delta: right, damping }
  }
  throw new NumericError(`the Gram matrix cannot be factored even with damping ${damp * DAMP_STEP ** (MAX_TRIES - 1)}.`)
}

/** `⟨W G, W⟩` of all columns and of the removed ones alone. */
async function energies(engine: Engine, wM: Matrix, wP: Matrix, gMM: Matrix, gMP: Matrix, gPP: Matrix) {
  const dot = async (w: Matrix, g: Matrix, v: Matrix) => {
    const product = matrix(w.rows, g.columns)
    await gemm(engine, w, g, product)
    return product.data.reduce((sum, p, i) => sum + p * v.data[i], 0)
  }
  const removed = await dot(wP, gPP, wP)
  const kept = await dot(wM, gMM, wM)
  return [kept + 2 * (await dot(wM, gMP, wP)) + removed, removed]
}

function meanShift(wP: Matrix, removed: Int32Array, mean: Float64Array): Float64Array {
  return Float64Array.from({ length: wP.rows }, (_, o) =>
    removed.reduce((sum, p, j) => sum + wP.data[o * wP.columns + j] * mean[p], 0),
  )
}

/** Columns of `weight` [out, width] in float64. */
function pick(weight: Floats, width: number, columns: Int32Array): Matrix {
  const m = matrix(weight.length / width, columns.length)
  for (let o = 0, at = 0; o < m.rows; o++)
    for (let j = 0; j < columns.length; j++, at++) m.data[at] = weight[o * width + columns[j]]
  return m
}
