import { expect } from 'vitest'

const TIE_TOLERANCE = 1e-4

/** Columns that only one of the two keeps all score the same, within the tolerance: such as neurons that never fire. */
export function expectSameUpToTies(ours: readonly number[], theirs: readonly number[], scores: Float64Array) {
  expect(ours.length).toBe(theirs.length)
  const different = [...ours.filter(j => !theirs.includes(j)), ...theirs.filter(j => !ours.includes(j))].map(
    j => scores[j],
  )
  if (different.length === 0) return
  const [low, high] = [Math.min(...different), Math.max(...different)]
  expect(high - low).toBeLessThanOrEqual(TIE_TOLERANCE * high)
}
