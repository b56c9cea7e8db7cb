// Which columns matter, by the user's function: `plain({ score })` of method.ts.
import { UsageError } from '../../base/errors.ts'
import type { HalfWeights } from '../../forward/weights.ts'
import type { HalfBlock } from '../../model/half-block.ts'
import { countedRows, type Statistics } from '../statistics/gram.ts'

/** An output layer (`o_proj`, `down_proj`) and statistics of its input H [tokens, width] on the pruned stream. */
export interface Scored
  extends Pick<HalfBlock, 'kind' | 'layer'>,
    Pick<Statistics, 'width' | 'tokens' | 'gram' | 'mean'> {
  /** Row by row: [d, width]. Where a norm follows, this is diag(γ) W, and H is r H (docs/method.md). */
  readonly weight: Float32Array
}

/** Scores [width] of columns, summed over a value channel's query heads. The highest stay; of equals, the first. */
export type Score = (scored: Scored) => Float64Array<ArrayBuffer>

/** @throws UsageError for other than a finite number for each column */
export function ownScores(
  score: Score,
  { half, output }: HalfWeights,
  statistics: Statistics,
): Float64Array<ArrayBuffer> {
  const { kind, layer } = half
  const { width, tokens, gram, mean } = statistics
  const weight = countedRows(output.weight, statistics)
  const scores = score({ kind, layer, width, tokens, gram, mean, weight })
  if (!(scores instanceof Float64Array) || scores.length !== width || !scores.every(Number.isFinite))
    throw new UsageError(
      `${half.output.name}: score must return a Float64Array of ${width} finite numbers. Mend the function.`,
    )
  return scores
}
