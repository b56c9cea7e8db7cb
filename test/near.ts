// How near our numbers are to those of the oracles from PyTorch, which add in other orders.
import { expect } from 'vitest'

/** Largest differences, as parts of the oracle's number. */
export const TOLERANCE = {
  /** Of a half-block: columns of almost equal scores change places where G is rounded to float32. */
  error: 0.01,
  kl: 0.01,
  /** Also of what removing a layer costs. */
  perplexity: 0.001,
  /** Scores of columns that may change places. */
  tie: 1e-4,
}

/** Parts of the dense output's energy; below, both have removed only what does nothing. */
const ERROR_FLOOR = 1e-9

export function expectNear(ours: number, theirs: number, tolerance: number, floor = ERROR_FLOOR) {
  const allowed = tolerance * Math.abs(theirs) + floor
  expect(Math.abs(ours - theirs), `${ours} for ${theirs}`).toBeLessThanOrEqual(allowed)
}

/** Columns that only one of the two keeps all score the same, within the tolerance: such as neurons that never fire. */
export function expectSameUpToTies(ours: readonly number[], theirs: readonly number[], scores: Float64Array) {
  expect(ours.length).toBe(theirs.length)
  const different = [...ours.filter(j => !theirs.includes(j)), ...theirs.filter(j => !ours.includes(j))].map(
    j => scores[j],
  )
  if (different.length === 0) return
  const [low, high] = [Math.min(...different), Math.max(...different)]
  expect(high - low).toBeLessThanOrEqual(TOLERANCE.tie * high)
}
