// Which columns matter, by their weights alone: `s_j = ‖W_:j‖₂` (mag-sp of FLAP's code, lib/prune.py).

/** Scores [in] of the input columns of `weight` [out, in]. */
export function magnitudeScores(weight: Float32Array, width: number): Float64Array<ArrayBuffer> {
  const scores = new Float64Array(width)
  for (let row = 0; row < weight.length; row += width) for (let j = 0; j < width; j++) scores[j] += weight[row + j] ** 2
  return scores.map(Math.sqrt)
}
