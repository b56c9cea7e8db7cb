// Which columns fluctuate, so that their mean cannot stand in for them: FLAP's weighted input feature variance, `s_j = F_j · ‖W_:j‖₂²`, with F_j
// the variance of column j of H in the dense model (arXiv 2312.11983). The scores of o_proj are squared as in FLAP's code (lib/prune.py);
// we have not found that in the paper, but its figures come from the code.

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
