// One half-block on its way: hidden activations → statistics → score → select → restore → write, and the streams go through it.
import type { ActivationPool } from './blocks/activations.ts'
import type { HalfBlockRunner } from './blocks/halfblock.ts'
import { copyStream, passThrough, type Stream } from './blocks/stream.ts'
import type { HalfWeights } from './blocks/weights.ts'
import type { DenseStatistics } from './calibrate/dense-statistics.ts'
import { advance, type DenseTarget, observe } from './calibrate/hidden-pass.ts'
import type { Windows } from './calibrate/windows.ts'
import type { Clock } from './clock.ts'
import type { Engine } from './engine/engine.ts'
import type { HeldOutCheck } from './evaluate/held-out.ts'
import type { ProgressEvent } from './events.ts'
import { narrows } from './model/architecture.ts'
import type { Model } from './model/model.ts'
import type { ResolvedOptions } from './options.ts'
import type { Plan } from './plan.ts'
import { alignInputs } from './restore/align.ts'
import { restoreColumns } from './restore/least-squares.ts'
import type { HalfResult } from './result.ts'
import { type Candidates, keepAll, selectKept } from './select/kept.ts'
import { rotateValues, unrotateOutput } from './select/rotate.ts'
import { complement } from './select/top.ts'
import type { ModelWriter } from './write/model.ts'

/** What `outsideSeconds` of the result goes by. */
export type Stage =
  | 'calibration'
  | 'allocation'
  | 'embedding'
  | 'reading'
  | 'statistics'
  | 'selection'
  | 'repair'
  | 'writing'
  | 'losses'

export interface PruneJob {
  readonly pool: ActivationPool
  readonly model: Model
  readonly engine: Engine
  readonly windows: Windows
  readonly plan: Plan
  readonly dense?: DenseStatistics
  readonly options: ResolvedOptions
  readonly writer: ModelWriter
  readonly stages: Clock<Stage>
  readonly signal?: AbortSignal
}

/** What goes through the layers together. */
export interface Streams {
  readonly runner: HalfBlockRunner
  readonly pruned: Stream
  /** With a dense target, from the first cut on: until then both streams are one, and there is nothing to make up for. */
  dense?: DenseTarget
  readonly check?: HeldOutCheck
}

/**
 * Prunes one half-block, writes it, and takes the streams through it. With a dense target one that keeps all is repaired, too: its output layer
 * makes up for a part of what was cut before it. Undefined where nothing changes. @param original its weights
 */
export async function* pruneHalf(
  job: PruneJob,
  streams: Streams,
  original: HalfWeights,
): AsyncGenerator<ProgressEvent, HalfResult | undefined> {
  const { half } = original
  const { runner, pruned: stream, dense, check } = streams
  const { model, engine, plan, options, writer, stages, signal } = job
  stages.start('statistics')
  const a = model.architecture
  const keep = plan.widths.after[plan.layers.after.indexOf(half.layer)]
  const cuts = narrows(a, half, keep)
  if (!cuts && !dense) {
    // Where only whole layers go, nothing is measured on the stream.
    if (options.scope !== 'layers') await passThrough(runner, stream, original, signal)
    stages.start('losses')
    await check?.pass(runner, original, undefined, signal)
    stages.start('writing')
    await writer.copyHalf(half)
    return undefined
  }
  if (!dense && options.target === 'dense' && options.alpha > 0) streams.dense = await leave(job, streams, original)
  const aligned = dense && options.inputs === 'aligned'
  const turned = aligned ? await alignInputs(runner, stream, original, dense, options.damp, signal) : undefined
  const weights = turned ? writer.rounded(turned.weights) : original
  const beside = dense && { ...dense, weights: original }
  const { statistics, hidden } = await observe(runner, job.pool, stream, weights, beside, signal)
  stages.start('selection')
  const rotates = cuts && options.vo === 'rotate' && half.kind === 'attention'
  const rotated = rotates ? await rotateValues(engine, a, weights, statistics) : undefined
  const seen = rotated ?? { weights, statistics, dense: job.dense?.layers[half.layer][half.kind] }
  const selected = cuts ? await selectKept(engine, a, seen, keep, options) : undefined
  if (selected) yield { type: 'selected', half: half.output.name, scores: selected.scores, kept: selected.kept }
  const { kept, columns } = selected ?? keepAll(a, half)
  stages.start('repair')
  const { weight, bias, damp, ...errors } = await restore(job, seen, columns)
  stages.start('writing')
  const output = await writer.writeOutput(half, columns, { weight, bias })
  const pruned = rotated ? await unrotateOutput(engine, a, rotated, output) : { output, columns }
  const advancing = advance(runner, stream, weights, pruned, hidden, signal)
  advancing.catch(() => {}) // thrown where it is waited for
  try {
    await writer.writeInputs(seen.weights, kept, columns, aligned) // the engine works meanwhile
  } finally {
    await advancing // nothing may run on when this ends with an error
  }
  stages.start('losses')
  await check?.pass(runner, original, { weights, output: pruned }, signal)
  return { kept: [...kept], ...errors, damp: Math.max(damp, selected?.damp ?? 0, turned?.damp ?? 0) }
}

/** The dense stream leaves the pruned one before the first cut: after the half-block, as the dense model has it. */
async function leave({ pool, options, signal }: PruneJob, { runner, pruned }: Streams, weights: HalfWeights) {
  const stream = await copyStream(pruned, runner.architecture.hiddenSize, pool)
  await passThrough(runner, stream, weights, signal)
  return { stream, alpha: options.alpha }
}

function restore(job: PruneJob, { weights, statistics, dense }: Candidates, columns: Int32Array) {
  const { half, output } = weights
  const removed = complement(columns, statistics.width)
  const options = { ...job.options, means: dense?.mean, layer: half.output.name }
  return restoreColumns(job.engine, output.weight, output.bias, statistics, columns, removed, options)
}
