// Repairs the kept columns M by least squares in delta form, towards the output that the removed columns P gave.
//   W' = W_M + Δ,  Δ (G_MM + δI) = W_P G_PM,  δ = damp · mean(diag G)                    (arXiv 2501.09412, §3.3)
//   centred (where the layer has a bias): G − Nμμᵀ for G, and b' = b + W_P μ_P − Δ μ_M
// Errors follow from the normal equations without another pass: with R = G_MP W_Pᵀ,
//   before = ⟨W_P G_PP, W_P⟩,  after = before − ⟨Δᵀ, R⟩ − δ‖Δ‖²,  both relative to ⟨W G, W⟩.
// With a dense target (method/statistics/gap.ts) the output is to be H Wᵀ + αD:
//   R = G_MP W_Pᵀ + H_MᵀαD,  before = ‖H_P W_Pᵀ + αD‖²;  centred, the mean of αD is in R and b' as W_P μ_P is.
// Instead, `bias` leaves the kept columns and gives the bias the mean output of the removed ones: b' = b + c, c = W_P
// μ_P, where μ may be the dense model's (FLAP, arXiv 2312.11983; its code overwrites the old bias):
//   after = ‖H_P W_Pᵀ − 1cᵀ‖² = before − 2N⟨W_P μ_P, c⟩ + N‖c‖²
// Where a norm follows the output layer, H is r H and W is diag(γ) W, and γ divides changes (statistics/gram.ts). G and
// its products with W are in float32; the system is factored and solved in float64.
import { NumericError } from '../../base/errors.ts'
import type { Engine } from '../../engine/engine.ts'
import { matrix } from '../../engine/linalg/matrix.ts'
import { pick, pickRows, transposed } from '../../engine/linalg/scatter.ts'
import { dot } from '../../engine/linalg/sums.ts'
import type { Floats } from '../../formats/tensors.ts'
import type { LinearWeights } from '../../forward/weights.ts'
import { complement } from '../select/top.ts'
import { countedRows, outputEnergy, type Statistics } from '../statistics/gram.ts'
import { factorDamped, type SystemOptions } from '../statistics/system.ts'

/** Outputs to solve for at a time: all outputs of a wide layer in float64 would take as much memory as the factor. */
const OUTPUTS = 1024

export interface RestoreOptions extends SystemOptions {
  /** Centre the activations and repair the bias. Ignored where there is no bias. */
  readonly center: boolean
  /** False changes nothing; `bias` changes only the bias. */
  readonly restore: boolean | 'bias'
  /** For `bias`: μ. @default as in the statistics */
  readonly means?: Float64Array
}

export interface Restored {
  readonly weight: Floats // [out, |M|]
  readonly bias?: Floats // [out]
  /** Squared output error on the calibration activations over the squared output: without and with restoration. */
  readonly errorBefore: number
  readonly errorAfter: number
  /** The `damp` of the factorisation; larger than asked for where that failed. */
  readonly damp: number
}

/**
 * @param kept M, ascending
 * @throws NumericError where activations are not finite, or no damping makes `G_MM` positive definite
 */
export async function restoreColumns(
  engine: Engine,
  { weight, bias }: LinearWeights,
  statistics: Statistics,
  kept: Int32Array,
  options: RestoreOptions,
): Promise<Restored> {
  const { width, tokens, mean, gram, gap, gains } = statistics
  const out = weight.length / width
  const removed = complement(kept, width) // P
  const counted = countedRows(weight, statistics)
  const [wM, wP] = [kept, removed].map(at => transposed(counted, width, at)) // W_Mᵀ [|M|, out]
  const stays = gains ? transposed(weight, width, kept) : wM
  // R [|M|, out], before centring
  const right =
    removed.length > 0
      ? await engine.linalg.multiply(pick(gram, kept, removed, width), wP, out)
      : new Float32Array(wM.length)
  const away = await outputEnergy(engine, statistics, removed, wP)
  const total = (await outputEnergy(engine, statistics, kept, wM)) + 2 * dot(right, wM) + away
  const before = away + (gap ? 2 * dot(pickRows(gap.cross, removed, out), wP) + gap.energy : 0)
  if (!Number.isFinite(total))
    throw new NumericError(
      `${options.layer}: its input or output on the calibration text is beyond float32. The checkpoint is damaged, ` +
        'or holds a model that needs another format; fetch it again.',
    )
  const relative = (error: number) => (total > 0 ? Math.max(0, error) / total : 0)
  const plain = { bias, errorBefore: relative(before), damp: options.damp }
  if (!options.restore) return { ...plain, weight: transposed(stays, out), errorAfter: plain.errorBefore }
  if (options.restore === 'bias') {
    const [lacking, given] = [mean, options.means ?? mean].map(mu => meanOutput(wP, removed, mu, out))
    const after = given.reduce((sum, c, o) => sum + tokens * (c - 2 * lacking[o]) * c, before)
    const shifted = given.map((c, o) => (bias?.[o] ?? 0) + c / (gains?.[o] ?? 1))
    return { ...plain, weight: transposed(stays, out), bias: Float32Array.from(shifted), errorAfter: relative(after) }
  }

  const cross = gap && pickRows(gap.cross, kept, out)
  if (cross) for (let i = 0; i < cross.length; i++) right[i] += cross[i]
  const mu = options.center && bias ? mean : undefined
  const muM = Float64Array.from(kept, column => mu?.[column] ?? 0)
  // Mean of the output to make up for [out]: the bias carries it, and R is without it.
  const carried = mu ? meanOutput(wP, removed, mu, out).map((v, o) => v + (gap?.mean[o] ?? 0)) : new Float64Array(out)
  const { damp: asked, layer } = options
  const system = await factorDamped(engine.linalg.factor, statistics, mu, kept, { damp: asked, layer })
  const { damp, damping } = system ?? { damp: options.damp, damping: 0 }

  // A mean that the bias carries is no error once centred: N ‖carried‖² of `before` goes.
  let after = before - tokens * carried.reduce((sum, v) => sum + v * v, 0)
  const shift = carried.slice()
  const room = new Float64Array(system ? kept.length * Math.min(out, OUTPUTS) : 0)
  for (let first = 0; system && first < out; first += OUTPUTS) {
    const last = Math.min(out, first + OUTPUTS)
    const columns = last - first
    const delta = matrix(kept.length, columns, room.subarray(0, kept.length * columns)) // R, then Δᵀ, of some outputs
    const rowOf = (m: number) => delta.data.subarray(m * columns, (m + 1) * columns)
    const part = carried.subarray(first, last)
    for (let m = 0; m < kept.length; m++) {
      rowOf(m).set(right.subarray(m * out + first, m * out + last))
      if (mu) addScaled(rowOf(m), -tokens * muM[m], part)
    }
    await system.factor.solve(delta)
    for (let m = 0; m < kept.length; m++) {
      const [from, to] = [m * out + first, m * out + last]
      const [w, r] = [stays, right].map(rows => rows.subarray(from, to))
      after -= addDelta(w, rowOf(m), r, damping, gains?.subarray(first, last))
      if (!mu) continue
      after += tokens * muM[m] * dot(rowOf(m), part)
      addScaled(shift.subarray(first, last), -muM[m], rowOf(m))
    }
  }
  system?.factor.drop?.()
  return {
    ...plain,
    weight: transposed(stays, out),
    bias: bias?.map((b, o) => b + shift[o] / (gains?.[o] ?? 1)),
    errorAfter: relative(after),
    damp,
  }
}

/** `y ← y + s x` */
function addScaled(y: Float64Array, s: number, x: Float64Array): void {
  for (let i = 0; i < y.length; i++) y[i] += s * x[i]
}

/** `w ← w + d / γ`, for one row of Δᵀ. @returns `⟨d, r⟩ + δ‖d‖²` */
function addDelta(w: Floats, d: Float64Array, r: Floats, damping: number, gains?: Floats): number {
  let [inner, square] = [0, 0]
  for (let i = 0; i < d.length; i++) {
    const v = d[i]
    inner += v * r[i]
    square += v * v
    w[i] += gains ? v / gains[i] : v
  }
  return inner + damping * square
}

/** `W_P μ_P` [out], from `W_Pᵀ` [|P|, out]. */
function meanOutput(wP: Floats, removed: Int32Array, mu: Float64Array, out: number): Float64Array {
  const y = new Float64Array(out)
  for (let j = 0, at = 0; j < removed.length; j++)
    for (let o = 0; o < y.length; o++, at++) y[o] += wP[at] * mu[removed[j]]
  return y
}
