// Cuts one half-block by its statistics: rotate → select → restore → round. The loop (prune-half.ts) writes the result,
// and the curves of allocation (allocate/curve.ts) measure it.
import type { Engine } from '../engine/engine.ts'
import type { PrunedOutput } from '../forward/runner.ts'
import type { HalfWeights, LinearWeights } from '../forward/weights.ts'
import { type Restored, type RestoreOptions, restoreColumns } from './restore/least-squares.ts'
import { rotateValues, unrotateOutput } from './select/rotate.ts'
import type { Candidates, Selection } from './select/selection.ts'
import type { Statistics } from './statistics/gram.ts'

export interface CutRules<S, O> {
  /** Turn the value channels of each KV head into their best directions first. */
  readonly rotate: boolean
  readonly select: (seen: Candidates) => Promise<S>
  readonly restore: Omit<RestoreOptions, 'layer'>
  /** The output layer as a reader of the file will see it. */
  readonly round: (output: LinearWeights) => O
}

export interface Cut<S, O> extends Pick<Restored, 'errorBefore' | 'errorAfter' | 'damp'> {
  readonly selected: S
  /** Before the cut, rotated where `rotate` says; `selected` counts in this basis. */
  readonly weights: HalfWeights
  /** In the same basis. */
  readonly statistics: Statistics
  /** The output layer [d, columns] that stays. */
  readonly output: O
  /** The output layer on `H` as it was observed. */
  readonly pruned: PrunedOutput
}

export async function cut<S extends Pick<Selection, 'columns'>, O extends LinearWeights>(
  engine: Engine,
  seen: Candidates,
  { rotate, select, restore, round }: CutRules<S, O>,
): Promise<Cut<S, O>> {
  const { half } = seen.weights
  const turns = rotate && half.kind === 'attention' ? half : undefined
  const rotated = turns && (await rotateValues(engine, turns, seen.weights, seen.statistics))
  const { weights, statistics } = rotated ?? seen
  const selected = await select(rotated ?? seen)
  const { columns } = selected
  const options = { ...restore, layer: weights.half.output.name }
  const { weight, bias, ...fit } = await restoreColumns(engine, weights.output, statistics, columns, options)
  const output = round({ weight, bias })
  const pruned = rotated ? await unrotateOutput(engine, turns, rotated, output) : { output, columns }
  return { selected, weights, statistics, output, pruned, ...fit }
}
