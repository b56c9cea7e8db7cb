// Which columns fluctuate, and so cannot be replaced by their mean: FLAP's weighted input feature variance, `s_j = F_j · ‖W_:j‖₂²`, with F the
// variance of column j of H on the dense model (arXiv 2312.11983, §3.2). The scores of o_proj are squared, as FLAP's code has it
// (lib/prune.py); the paper does not say so, and its figures are the code's.
import type { Moments } from '../calibrate/dense-statistics.ts'
import type { HalfBlock } from '../model/architecture.ts'
import { magnitudeScores } from './magnitude.ts'

/** Scores [in] of the input columns of `weight` [out, in]. */
export function fluctuationScores(
  weight: Float32Array,
  { variance }: Moments,
  { kind }: HalfBlock,
): Float64Array<ArrayBuffer> {
  const scores = magnitudeScores(weight, variance.length).map((norm, j) => variance[j] * norm ** 2)
  return kind === 'attention' ? scores.map(s => s ** 2) : scores
}
