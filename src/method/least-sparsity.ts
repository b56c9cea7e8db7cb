// How much to cut for a given size: the least sparsity that reaches it. `run.ts` asks for plans, allocations for
// measured widths.
import { UsageError } from '../base/errors.ts'

export const MAX_SPARSITY = 0.9

/** Sparsities to try are multiples of 1/10,000, finer than widths. */
const STEPS = 10_000

/**
 * The least sparsity that `fits`, by bisection, and the one before it; `least` is undefined where none fits. A sparsity
 * further down may fit, too, as types of blocks depend on widths.
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

/** `share` at `sparsity`; where `fits` is given, at the least sparsity that fits. */
export function sharedOut<T>(share: (sparsity: number) => T, sparsity: number, fits?: (shared: T) => boolean): T {
  const { least } = fits ? leastSparsity(tried => fits(share(tried))) : { least: sparsity }
  if (least !== undefined) return share(least)
  throw new UsageError(
    'The widths that the method shares out cannot reach what is asked for. Ask for more, or use another method.',
  )
}
