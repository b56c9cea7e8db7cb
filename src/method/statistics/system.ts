// The matrix of the least squares over the columns of H, `G + δI` with `δ = damp · mean(diag G)`; centred, with
// `G − Nμμᵀ` for G. Elimination and restoration solve the same system, so that they agree on the cost of a column; from
// few tokens, elimination shrinks correlations, `(1 − ρ) G + ρ diag G` (Schäfer & Strimmer 2005, target D;
// docs/method.md).
import { NumericError } from '../../base/errors.ts'
import type { RowReader } from '../../engine/linalg/cholesky.ts'
import type { Statistics } from './gram.ts'

export interface SystemOptions {
  /** δ as a part of the mean of G's diagonal. */
  readonly damp: number
  /** Name of the layer, for messages. */
  readonly layer: string
}

/** Each failed factorisation raises the damping by this factor, for some tries. */
const DAMP_STEP = 10
/** The damping after a failed factorisation without any. */
const FIRST_DAMP = 1e-8
const MAX_TRIES = 8

/**
 * Factors `G_MM + δI`, raising δ until it is positive definite.
 * @param make factors the matrix, and returns undefined where it is not positive definite
 * @param mu the mean, where G is to be centred @param kept M, ascending
 * @returns the factor, its `damp` and δ; undefined where the activations are all zero, or constant once centred: there
 * is nothing to repair with
 * @throws NumericError where no damping makes it positive definite
 */
export async function factorDamped<T>(
  make: (n: number, read: RowReader) => Promise<T | undefined>,
  { gram, width, tokens }: Statistics,
  mu: Float64Array | undefined,
  kept: Int32Array,
  { damp, layer, shrinkage = 0 }: SystemOptions & { readonly shrinkage?: number },
) {
  let diagonal = 0
  for (let j = 0; j < width; j++) diagonal += gram[j * width + j] - (mu ? tokens * mu[j] ** 2 : 0)
  if (!(diagonal > 0)) return undefined
  for (let attempt = 0, d = damp; attempt < MAX_TRIES; attempt++, d = d > 0 ? d * DAMP_STEP : FIRST_DAMP) {
    const damping = (d * diagonal) / width
    const read: RowReader = (i, from, target) => {
      const row = kept[i] * width
      for (let j = 0; j < target.length; j++) target[j] = gram[row + kept[from + j]]
      if (mu) for (let j = 0; j < target.length; j++) target[j] -= tokens * mu[kept[i]] * mu[kept[from + j]]
      if (shrinkage > 0) for (let j = 0; j < target.length; j++) if (from + j !== i) target[j] *= 1 - shrinkage
      if (i >= from && i < from + target.length) target[i - from] += damping
    }
    const factor = await make(kept.length, read)
    if (factor) return { factor, damp: d, damping }
  }
  throw new NumericError(
    `${layer}: the Gram matrix of its input cannot be factored, not even with ${MAX_TRIES - 1} times tenfold ` +
      'damping. Give more calibration text.',
  )
}
