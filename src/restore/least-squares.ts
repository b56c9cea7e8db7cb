// Repairs what stays: least squares on the kept columns M in delta form, towards the output that the removed columns P gave.
//   W' = W_M + Δ,  Δ (G_MM + δI) = W_P G_PM,  δ = damp · mean(diag G)                    (arXiv 2501.09412, §3.3)
//   centred (where the layer has a bias): G − Nμμᵀ for G, and b' = b + W_P μ_P − Δ μ_M
// The errors follow from the normal equations without another pass: with R = G_MP W_Pᵀ,
//   before = ⟨W_P G_PP, W_P⟩,  after = before − ⟨Δᵀ, R⟩ − δ‖Δ‖²,  both relative to ⟨W G, W⟩.
// G is accumulated in float32, and so are its products with W; the system is factored and solved in float64.
import type { Statistics } from '../calibrate/gram.ts'
import { type Engine, values } from '../engine/engine.ts'
import { NumericError } from '../errors.ts'
import { Graph } from '../formats/onnx.ts'
import { cholesky, solve } from '../linalg/cholesky.ts'
import { type Matrix, matrix } from '../linalg/gemm.ts'

type Floats = Float32Array<ArrayBuffer>

export interface RestoreOptions {
  /** δ as a part of the mean of G's diagonal. */
  readonly damp: number
  /** Centre the activations and repair the bias. Ignored where there is no bias. */
  readonly center: boolean
  /** False leaves the kept columns as they are. */
  readonly restore: boolean
  /** Name of the layer, for messages. */
  readonly layer: string
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
  const { width, tokens, mean, gram } = statistics
  const out = weight.length / width
  const outputs = Int32Array.from({ length: out }, (_, o) => o)
  const wM = pick(weight, width, outputs, kept)
  const wP = pick(weight, width, outputs, removed)
  const all = Int32Array.from({ length: width }, (_, j) => j)
  const lost = await multiply(engine, wP, pick(gram, width, removed, all), out) // W_P G_P [out, in]
  const before = dotColumns(lost, removed, wP)
  const keptAlone = dot(await multiply(engine, wM, pick(gram, width, kept, kept), out), wM)
  const total = keptAlone + 2 * dotColumns(lost, kept, wM) + before
  if (!Number.isFinite(total))
    throw new NumericError(
      `${options.layer}: its input or output on the calibration text is beyond float32. The checkpoint is damaged, or holds a model that needs another format; fetch it again.`,
    )
  const relative = (error: number) => (total > 0 ? Math.max(0, error) / total : 0)
  const plain = { bias, errorBefore: relative(before), damp: options.damp }
  if (!options.restore) return { ...plain, weight: wM, errorAfter: plain.errorBefore }

  const mu = options.center && bias ? mean : undefined
  const shift = mu && meanOutput(wP, removed, mu) // W_P μ_P [out]
  const R = (m: number, o: number) => lost[o * width + kept[m]] - (mu && shift ? tokens * mu[kept[m]] * shift[o] : 0)
  const right = matrix(kept.length, out) // R = G_MP W_Pᵀ, then Δᵀ
  for (let m = 0, at = 0; m < kept.length; m++) for (let o = 0; o < out; o++, at++) right.data[at] = R(m, o)
  const { damp, damping } = await solveDamped(engine, statistics, mu, kept, right, options)

  // A mean that the bias carries is no error once centred: N ‖W_P μ_P‖² of `before` goes.
  let after = before - (shift ? tokens * shift.reduce((sum, v) => sum + v * v, 0) : 0)
  for (let m = 0, at = 0; m < kept.length; m++)
    for (let o = 0; o < out; o++, at++) {
      const delta = right.data[at]
      after -= delta * R(m, o) + damping * delta ** 2
      wM[o * kept.length + m] += delta
    }
  if (mu && shift)
    for (let m = 0, at = 0; m < kept.length; m++)
      for (let o = 0; o < out; o++, at++) shift[o] -= right.data[at] * mu[kept[m]]
  return {
    ...plain,
    weight: wM,
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
  { damp, layer }: RestoreOptions,
): Promise<{ damp: number; damping: number }> {
  let diagonal = 0
  for (let j = 0; j < width; j++) diagonal += gram[j * width + j] - (mu ? tokens * mu[j] ** 2 : 0)
  if (!(diagonal > 0)) {
    right.data.fill(0) // activations that are all zero (or constant, once centred) have nothing to repair with
    return { damp, damping: 0 }
  }
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
  throw new NumericError(
    `${layer}: the Gram matrix of its input cannot be factored, not even with ${MAX_TRIES - 1} times tenfold damping. Give more calibration text.`,
  )
}

/** `a b` in float32, with `a` [rows, n] and `b` [n, m]. */
async function multiply(engine: Engine, a: Floats, b: Floats, rows: number): Promise<Floats> {
  const n = a.length / rows
  const y = new Float32Array((rows * b.length) / n)
  const feeds = { a: values(a, [rows, n]), b: values(b, [n, b.length / n]) }
  await engine.run('product', productGraph, feeds, { y: values(y, [rows, b.length / n]) })
  return y
}

function productGraph(): Graph {
  const g = new Graph('product')
  const [a, b] = ['a', 'b'].map(name => g.input(name, 'float32', [`${name}0`, `${name}1`]))
  g.output('y', g.op('MatMul', [a, b]), 'float32', ['a0', 'b1'])
  return g
}

/** Some rows and columns of a matrix [.., width]. */
function pick(data: Floats, width: number, rows: Int32Array, columns: Int32Array): Floats {
  const picked = new Float32Array(rows.length * columns.length)
  for (let i = 0, at = 0; i < rows.length; i++) {
    const row = rows[i] * width
    for (let j = 0; j < columns.length; j++, at++) picked[at] = data[row + columns[j]]
  }
  return picked
}

/** `⟨a, b⟩`, summed in float64. */
function dot(a: Floats, b: Floats): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i]
  return sum
}

/** `⟨a restricted to columns, b⟩` with `a` [out, in] and `b` [out, columns]. */
function dotColumns(a: Floats, columns: Int32Array, b: Floats): number {
  const out = b.length / columns.length
  const width = a.length / out
  let sum = 0
  for (let o = 0, at = 0; o < out; o++)
    for (let j = 0; j < columns.length; j++, at++) sum += a[o * width + columns[j]] * b[at]
  return sum
}

/** `W_P μ_P` [out]. */
function meanOutput(wP: Floats, removed: Int32Array, mu: Float64Array): Float64Array {
  const y = new Float64Array(wP.length / removed.length)
  for (let o = 0, at = 0; o < y.length; o++)
    for (let j = 0; j < removed.length; j++, at++) y[o] += wP[at] * mu[removed[j]]
  return y
}
