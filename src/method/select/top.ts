// The highest scores, ties to the lower index, so that the same input always gives the same model.

/** Indices, ascending, of the `keep` highest scores. */
export function keepTop(scores: Float64Array, keep: number): Int32Array<ArrayBuffer> {
  const order = Int32Array.from(scores.keys()).sort((i, j) => scores[j] - scores[i] || i - j)
  return order.slice(0, keep).sort()
}

/** Indices, ascending, of the `keep` highest scores in each of `groups` equal consecutive groups. */
export function keepTopPerGroup(scores: Float64Array, groups: number, keep: number): Int32Array<ArrayBuffer> {
  const size = scores.length / groups
  const kept = new Int32Array(groups * keep)
  for (let g = 0; g < groups; g++) {
    const top = keepTop(scores.subarray(g * size, (g + 1) * size), keep).map(i => i + g * size)
    kept.set(top, g * keep)
  }
  return kept
}

export const allColumns = (n: number): Int32Array<ArrayBuffer> => Int32Array.from({ length: n }, (_, i) => i)

/** The indices below `n` outside `kept`, ascending. */
export function complement(kept: Int32Array, n: number): Int32Array<ArrayBuffer> {
  const isKept = new Uint8Array(n)
  for (const i of kept) isKept[i] = 1
  return Int32Array.from({ length: n }, (_, i) => i).filter(i => !isKept[i])
}
