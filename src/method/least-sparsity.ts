// How much to cut where a size is asked for: the least sparsity that reaches it. Called by `run.ts` on plans, and by the allocations that
// share out by what they measured.

import { UsageError } from '../base/errors.ts'

export const MAX_SPARSITY = 0.9

/** Sparsities that are tried are multiples of 1/10,000: finer than widths are. */
const STEPS = 10_000

/**
 * The least sparsity at which it `fits`, by bisection, and the one before it; undefined where it does nowhere. What is once too large may fit
 * further up (types of blocks depend on widths): the two are neighbours all the same.
 * @param fits throws UsageError for more than can be cut
 */
export function leastSparsity(fits: (sparsity: number) => boolean): {
  readonly below: number
  readonly least?: number
} {
  let [below, least, end] = [-1, MAX_SPARSITY * STEPS + 1, MAX_SPARSITY * STEPS + 1]
  while (least - below > 1) {
    const middle = Math.floor((below + least) / 2)
    try {
      if (fits(middle / STEPS)) least = middle
      else below = middle
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      least = middle
      end = middle
    }
  }
  return { below: below / STEPS, least: least < end ? least / STEPS : undefined }
}

/** What `share` makes of `sparsity`; where `fits` is given, of the least at which that holds. */
export function sharedOut<T>(share: (sparsity: number) => T, sparsity: number, fits?: (shared: T) => boolean): T {
  const { least } = fits ? leastSparsity(tried => fits(share(tried))) : { least: sparsity }
  if (least !== undefined) return share(least)
  throw new UsageError(
    'The widths that the method shares out cannot reach what is asked for. Ask for more, or use another method.',
  )
}
