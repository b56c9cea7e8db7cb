// Repairs what stays: least squares on the kept columns M in delta form, towards the output that the removed columns P gave.
//   W' = W_M + Δ,  Δ (G_MM + δI) = W_P G_PM,  δ = damp · mean(diag G)                    (arXiv 2501.09412, §3.3)
//   centred (where the layer has a bias): G − Nμμᵀ for G, and b' = b + W_P μ_P − Δ μ_M
// The errors follow from the normal equations without another pass: with R = G_MP W_Pᵀ,
//   before = ⟨W_P G_PP, W_P⟩,  after = before − ⟨Δᵀ, R⟩ − δ‖Δ‖²,  both relative to ⟨W G, W⟩.
import type { Statistics } from '../calibrate/gram.ts'
import { type Engine, values } from '../engine/engine.ts'
import { NumericError } from '../errors.ts'
import { Graph } from '../formats/onnx.ts'
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
/** The damping after a failed factorisation without any. */
const FIRST_DAMP = 1e-8
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
  const { width, tokens, mean } = statistics
  const out = weight.length / width
  const total = await energy(engine, weight, statistics)
  if (!Number.isFinite(total))
    throw new NumericError('the calibration activations are not finite; the weights overflow in float32.')
  const wP = pickColumns(weight, width, removed)
  const lost = matrix(out, width) // W_P G_P: what the removed columns contribute, against every column
  await gemm(engine, wP, pickRows(statistics, removed), lost)
  const before = dotColumns(lost, removed, wP)
  const relative = (error: number) => (total > 0 ? Math.max(0, error) / total : 0)
  const weightM = pickColumns(weight, width, kept)
  const plain = { bias, errorBefore: relative(before), damp: options.damp }
  if (!options.restore) return { ...plain, weight: new Float32Array(weightM.data), errorAfter: plain.errorBefore }

  const mu = options.center && bias ? mean : undefined
  const shift = mu && meanOutput(wP, removed, mu) // W_P μ_P [out]
  const right = matrix(kept.length, out) // R = G_MP W_Pᵀ, then Δᵀ
  for (let m = 0, at = 0; m < kept.length; m++)
    for (let o = 0; o < out; o++, at++)
      right.data[at] = lost.data[o * width + kept[m]] - (mu && shift ? tokens * mu[kept[m]] * shift[o] : 0)
  const R = right.data.slice()
  const { damp, damping } = await solveDamped(engine, statistics, mu, kept, right, options.damp)

  // A mean that the bias carries is no error once centred: N ‖W_P μ_P‖² of `before` goes.
  let after = before - (shift ? tokens * shift.reduce((sum, v) => sum + v * v, 0) : 0)
  for (let i = 0; i < R.length; i++) after -= right.data[i] * R[i] + damping * right.data[i] ** 2
  for (let m = 0, at = 0; m < kept.length; m++)
    for (let o = 0; o < out; o++, at++) weightM.data[o * kept.length + m] += right.data[at]
  if (mu && shift)
    for (let m = 0, at = 0; m < kept.length; m++)
      for (let o = 0; o < out; o++, at++) shift[o] -= right.data[at] * mu[kept[m]]
  return {
    ...plain,
    weight: new Float32Array(weightM.data),
    bias: shift && bias ? bias.map((b, o) => b + shift[o]) : bias,
    errorAfter: relative(after),
    damp,
  }
}

/** Solves `(G_MM + δI) Δᵀ = R` in place of R, raising δ until the matrix factors. `mu` is there where G is to be centred. */
async function solveDamped(
  engine: Engine,
  { gram, width, tokens }: Statistics,
  mu: Float64Array | undefined,
  kept: Int32Array,
  right: Matrix,
  damp: number,
): Promise<{ damp: number; damping: number }> {
  let diagonal = 0
  for (let j = 0; j < width; j++) diagonal += gram[j * width + j] - (mu ? tokens * mu[j] ** 2 : 0)
  for (let attempt = 0, d = damp; attempt < MAX_TRIES; attempt++, d = d > 0 ? d * DAMP_STEP : FIRST_DAMP) {
    const damping = (d * diagonal) / width
    const factor = await cholesky(engine, kept.length, (i, from, target) => {
      const row = kept[i] * width
      for (let j = 0; j < target.length; j++) target[j] = gram[row + kept[from + j]]
      if (mu) for (let j = 0; j < target.length; j++) target[j] -= tokens * mu[kept[i]] * mu[kept[from + j]]
      if (i - from < target.length) target[i - from] += damping
    })
    if (!factor) continue
    await solve(engine, factor, right)
    return { damp: d, damping }
  }
  throw new NumericError(`the Gram matrix cannot be factored, not even with ${MAX_TRIES - 1} times tenfold damping.`)
}

/** `⟨W G, W⟩`: the squared output of the whole layer on the calibration activations. */
async function energy(engine: Engine, weight: Floats, { gram, width }: Statistics): Promise<number> {
  const shape = [weight.length / width, width]
  const product = new Float32Array(weight.length)
  const feeds = { w: values(weight, shape), g: values(gram, [width, width]) }
  await engine.run('product', productGraph, feeds, { y: values(product, shape) })
  let sum = 0
  for (let i = 0; i < product.length; i++) sum += product[i] * weight[i]
  return sum
}

function productGraph(): Graph {
  const g = new Graph('product')
  const [w, m] = ['w', 'g'].map(name => g.input(name, 'float32', [`${name}0`, `${name}1`]))
  g.output('y', g.op('MatMul', [w, m]), 'float32', ['w0', 'g1'])
  return g
}

/** Columns of `weight` [out, width] in float64. */
function pickColumns(weight: Floats, width: number, columns: Int32Array): Matrix {
  const m = matrix(weight.length / width, columns.length)
  for (let o = 0, at = 0; o < m.rows; o++)
    for (let j = 0; j < columns.length; j++, at++) m.data[at] = weight[o * width + columns[j]]
  return m
}

/** Rows of G in float64. */
function pickRows({ gram, width }: Statistics, rows: Int32Array): Matrix {
  const m = matrix(rows.length, width)
  for (let i = 0; i < rows.length; i++) m.data.set(gram.subarray(rows[i] * width, (rows[i] + 1) * width), i * width)
  return m
}

/** `⟨a restricted to columns, b⟩` with `a` [out, width] and `b` [out, columns]. */
function dotColumns(a: Matrix, columns: Int32Array, b: Matrix): number {
  let sum = 0
  for (let o = 0, at = 0; o < b.rows; o++)
    for (let j = 0; j < columns.length; j++, at++) sum += a.data[o * a.columns + columns[j]] * b.data[at]
  return sum
}

/** `W_P μ_P` [out]. */
function meanOutput(wP: Matrix, removed: Int32Array, mu: Float64Array): Float64Array {
  const y = new Float64Array(wP.rows)
  for (let o = 0, at = 0; o < wP.rows; o++)
    for (let j = 0; j < removed.length; j++, at++) y[o] += wP.data[at] * mu[removed[j]]
  return y
}
