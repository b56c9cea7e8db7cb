// The column metric of FASP, `s_j = Σ_i |W_ij| · ‖X_j‖₂` with `‖X_j‖₂ = √G_jj` (arXiv 2501.09412, §3.2).
import type { Statistics } from '../statistics/gram.ts'

/** Scores [in] of the input columns of `weight` [out, in]. */
export function columnScores(weight: Float32Array, { gram, width }: Statistics): Float64Array<ArrayBuffer> {
  const scores = new Float64Array(width)
  for (let row = 0; row < weight.length; row += width)
    for (let j = 0; j < width; j++) scores[j] += Math.abs(weight[row + j])
  for (let j = 0; j < width; j++) scores[j] *= Math.sqrt(Math.max(0, gram[j * width + j]))
  return scores
}
