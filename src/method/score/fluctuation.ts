// FLAP's weighted input feature variance, `s_j = F_j · ‖W_:j‖₂²`, with F_j the variance of column j of H in the dense
// model: the mean cannot stand in for columns that fluctuate (arXiv 2312.11983). Scores of o_proj are squared as in
// FLAP's code (lib/prune.py), from which the paper's figures come; we have not found that in the paper.
import type { HalfBlock } from '../../model/half-block.ts'
import type { Moments } from '../statistics/moments.ts'
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
