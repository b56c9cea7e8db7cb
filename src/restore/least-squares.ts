// Repairs what stays: least squares on the kept columns M in delta form, towards the output that the removed columns P gave.
//   W' = W_M + Δ,  Δ (G_MM + δI) = W_P G_PM,  δ = damp · mean(diag G)                    (arXiv 2501.09412, §3.3)
//   centred (where the layer has a bias): G − Nμμᵀ for G, and b' = b + W_P μ_P − Δ μ_M
// The errors follow from the normal equations without another pass: with R = G_MP W_Pᵀ,
//   before = ⟨W_P G_PP, W_P⟩,  after = before − ⟨Δᵀ, R⟩ − δ‖Δ‖²,  both relative to ⟨W G, W⟩.
// With a dense target (calibrate/gap.ts) the output is to be H Wᵀ + αD:
//   R = G_MP W_Pᵀ + H_MᵀαD,  before = ‖H_P W_Pᵀ + αD‖²;  centred, what the mean of αD lacks is in R and b' as W_P μ_P is.
// G is accumulated in float32, and so are its products with W; the system is factored and solved in float64.
import type { Gap } from '../calibrate/gap.ts'
import type { Statistics } from '../calibrate/gram.ts'
import { factorDamped, type SystemOptions } from '../calibrate/system.ts'
import type { Engine } from '../engine/engine.ts'
import { NumericError } from '../errors.ts'
import { solve } from '../linalg/cholesky.ts'
import { matrix } from '../linalg/gemm.ts'
import { multiply } from '../linalg/product.ts'

type Floats = Float32Array<ArrayBuffer>

export interface RestoreOptions extends SystemOptions {
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
  const { width, tokens, mean, gram, gap } = statistics
  const out = weight.length / width
  const outputs = Int32Array.from({ length: out }, (_, o) => o)
  const wM = pick(weight, width, outputs, kept)
  const wP = pick(weight, width, outputs, removed)
  const all = Int32Array.from({ length: width }, (_, j) => j)
  const lost = await multiply(engine, wP, pick(gram, width, removed, all), out) // W_P G_P [out, in]
  const away = dotColumns(lost, removed, wP)
  const keptAlone = dot(await multiply(engine, wM, pick(gram, width, kept, kept), out), wM)
  const total = keptAlone + 2 * dotColumns(lost, kept, wM) + away
  const before = away + (gap ? 2 * dotCross(gap, removed, wP) + gap.energy : 0)
  if (!Number.isFinite(total))
    throw new NumericError(
      `${options.layer}: its input or output on the calibration text is beyond float32. The checkpoint is damaged, or holds a model that needs another format; fetch it again.`,
    )
  const relative = (error: number) => (total > 0 ? Math.max(0, error) / total : 0)
  const plain = { bias, errorBefore: relative(before), damp: options.damp }
  if (!options.restore) return { ...plain, weight: wM, errorAfter: plain.errorBefore }

  const mu = options.center && bias ? mean : undefined
  const shift = mu && meanOutput(wP, removed, mu).map((v, o) => v + (gap?.mean[o] ?? 0)) // mean of what is to be made up for [out]
  const R = (m: number, o: number) =>
    lost[o * width + kept[m]] +
    (gap ? gap.cross[kept[m] * out + o] : 0) -
    (mu && shift ? tokens * mu[kept[m]] * shift[o] : 0)
  const right = matrix(kept.length, out) // R, then Δᵀ
  for (let m = 0, at = 0; m < kept.length; m++) for (let o = 0; o < out; o++, at++) right.data[at] = R(m, o)
  const system = await factorDamped(engine, statistics, mu, kept, options)
  if (system) await solve(engine, system.factor, right)
  else right.data.fill(0)
  const { damp, damping } = system ?? { damp: options.damp, damping: 0 }

  // A mean that the bias carries is no error once centred: N ‖shift‖² of `before` goes.
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

/** `⟨(αDᵀH)_P, W_P⟩` */
function dotCross({ cross }: Gap, removed: Int32Array, wP: Floats): number {
  const out = wP.length / removed.length
  let sum = 0
  for (let o = 0, at = 0; o < out; o++)
    for (let j = 0; j < removed.length; j++, at++) sum += cross[removed[j] * out + o] * wP[at]
  return sum
}

/** `W_P μ_P` [out]. */
function meanOutput(wP: Floats, removed: Int32Array, mu: Float64Array): Float64Array {
  const y = new Float64Array(wP.length / removed.length)
  for (let o = 0, at = 0; o < y.length; o++)
    for (let j = 0; j < removed.length; j++, at++) y[o] += wP[at] * mu[removed[j]]
  return y
}
