// Which whole layers go, as in ShortGPT (arXiv 2403.03853): the layers with the least block influence,
// `1 − E_t[cos(x_t, y_t)]` between the stream before and after the layer on the dense model, all at once.
import { UsageError } from '../../base/errors.ts'
import { type Architecture, layersOf } from '../../model/architecture.ts'

/** Listed in the order of removal. */
export interface RemovedLayer {
  readonly layer: number
  /** Its block influence, or the perplexity of the probe without it and the layers before it in the list. */
  readonly cost: number
}

/** SLEB keeps the first and the last layer, and any method must keep some. */
const LEAST = 2

/** @throws UsageError where too few would stay */
export function layersToRemove(a: Architecture, sparsity: number): number {
  const layers = layersOf(a)
  const removed = Math.round(sparsity * layers)
  if (removed > 0 && layers - removed < LEAST)
    throw new UsageError(
      `sparsity ${sparsity} would remove ${removed} of ${layers} layers; ${LEAST} have to stay. Use a lower sparsity.`,
    )
  return removed
}

/** The `count` layers with the least influence; of equals, the earlier. */
export const leastInfluential = (influence: readonly number[], count: number): RemovedLayer[] =>
  influence
    .map((cost, layer) => ({ layer, cost }))
    .sort((x, y) => x.cost - y.cost || x.layer - y.layer)
    .slice(0, count)
