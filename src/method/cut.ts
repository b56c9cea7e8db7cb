// Cuts one half-block by what was observed of it: rotate → select → restore → round. For the loop (prune-half.ts), which writes what comes of
// it, and for the curves of allocation (method/allocate/curve.ts), which measure it.

import type { Engine } from '../engine/engine.ts'
import type { PrunedOutput } from '../forward/runner.ts'
import type { HalfWeights, LinearWeights } from '../forward/weights.ts'
import { type Restored, type RestoreOptions, restoreColumns } from './restore/least-squares.ts'
import { rotateValues, unrotateOutput } from './select/rotate.ts'
import type { Candidates, Selection } from './select/selection.ts'
import type { Statistics } from './statistics/gram.ts'

export interface CutRules<S, O> {
  /** Turn the value channels of each KV head, where there are some, into those of their best directions first. */
  readonly rotate: boolean
  /** What stays. */
  readonly select: (seen: Candidates) => Promise<S>
  readonly restore: Omit<RestoreOptions, 'layer'>
  /** The output layer as a reader of what is written will see it. */
  readonly round: (output: LinearWeights) => O
}

/** A half-block that is cut. */
export interface Cut<S, O> extends Pick<Restored, 'errorBefore' | 'errorAfter' | 'damp'> {
  readonly selected: S
  /** Its weights before the cut, rotated where they were: what is selected is of these. */
  readonly weights: HalfWeights
  /** Of `H`, in the basis of these. */
  readonly statistics: Statistics
  /** The output layer [d, columns] that stays. */
  readonly output: O
  /** The same on `H` as it was observed. */
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
