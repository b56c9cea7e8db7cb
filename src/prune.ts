// The pipeline. Half-block by half-block: hidden activations → statistics → score → select → restore → write, each on the stream
// that the already pruned model before it produces (arXiv 2501.09412; docs/method.md).
import { type Allocated, allocate } from './allocate/allocate.ts'
import { ActivationPool, type Scratch } from './blocks/activations.ts'
import { HalfBlockRunner, readHalf } from './blocks/halfblock.ts'
import { copyStream, embedWindows, passThrough, type Stream } from './blocks/stream.ts'
import { type CalibrationInput, calibration, calibrationSource } from './calibrate/calibration.ts'
import type { DenseStatistics } from './calibrate/dense-statistics.ts'
import { advance, type DenseTarget, observe } from './calibrate/hidden-pass.ts'
import type { Windows } from './calibrate/windows.ts'
import type { Checkpoint } from './checkpoint/checkpoint.ts'
import { Clock, difference } from './clock.ts'
import { baseName } from './display.ts'
import type { Engine } from './engine/engine.ts'
import { HeldOutCheck } from './evaluate/held-out.ts'
import type { ProgressEvent } from './events.ts'
import { type HalfBlock, halfBlocks, narrows } from './model/architecture.ts'
import { describeModel, type Model } from './model/model.ts'
import { dampingNotices, overfitNotices, planNotices } from './notices.ts'
import { type PruneOptions, type ResolvedOptions, resolveOptions } from './options.ts'
import { makePlan, type Plan } from './plan.ts'
import { alignInputs } from './restore/align.ts'
import { restoreColumns } from './restore/least-squares.ts'
import type { HalfResult, LayerResult, PruneResult, Recipe } from './result.ts'
import { type Candidates, keepAll, selectKept } from './select/kept.ts'
import { rotateValues, unrotateOutput } from './select/rotate.ts'
import { complement } from './select/top.ts'
import { VERSION } from './version.ts'
import { CheckpointWriter } from './write/checkpoint.ts'
import { folderFiles } from './write/folder-files.ts'
import { ModelWriter } from './write/model.ts'
import type { Sink } from './write/sink.ts'

export interface PruneInput extends CalibrationInput {
  readonly checkpoint: Checkpoint
  readonly engine: Engine
  readonly sink: Sink
  /** Of the dense model on the same windows, where the caller has them: methods that need them compute them otherwise. */
  readonly denseStatistics?: DenseStatistics
  /** Where activations go that do not fit `memory`. Without it, all are in memory. */
  readonly openScratch?: () => Promise<Scratch>
  readonly signal?: AbortSignal
}

/**
 * Prunes a checkpoint and writes the result as a Hugging Face folder. The sink shows all files at the end, or none where this throws.
 * @throws FaspError one of its classes: bad options, text, weights, or output
 */
export async function* prune(input: PruneInput, options: PruneOptions): AsyncGenerator<ProgressEvent, PruneResult> {
  const { checkpoint, sink, signal } = input
  const clock = new Clock()
  let pool: ActivationPool | undefined
  const engineBefore = { ...input.engine.seconds }
  let finished = false
  try {
    const model = describeModel(checkpoint)
    const source = calibrationSource(input)
    const resolved = resolveOptions(options, model.architecture, input)
    const notices = planNotices(model, resolved, source, makePlan(model, resolved, source))
    for (const message of notices) yield { type: 'notice', message }
    clock.start('calibration text')
    const windows = yield* calibration(model, input.engine, input, resolved, signal)
    pool = new ActivationPool(resolved.memory * 2 ** 30, input.openScratch)
    clock.start('allocate')
    const allocated: Allocated =
      resolved.sparsity > 0
        ? yield* allocate(model, input.engine, windows, pool, resolved, input.denseStatistics, signal)
        : {}
    const plan = makePlan(model, resolved, source, allocated)
    const checkpointWriter = new CheckpointWriter(sink, plan.tensors)
    const writer = new ModelWriter(model, checkpointWriter, { ...resolved, layers: plan.layers.after })
    clock.start('prune')
    const { dense } = allocated
    const job = { pool, model, engine: input.engine, windows, plan, dense, options: resolved, writer, signal }
    const { layers, losses } = yield* pruneLayers(job)
    clock.start('write')
    const texts = windows.texts.map((t, i) => ({ ...t, name: baseName(t.name), loss: losses?.[i] }))
    for (const message of [...dampingNotices(layers, resolved.damp), ...overfitNotices(texts)]) {
      notices.push(message)
      yield { type: 'notice', message }
    }
    const { name, format } = checkpoint
    const recipe: Recipe = {
      schema: 1,
      fasp: VERSION,
      source: { name: baseName(name), format, modelType: model.architecture.modelType },
      options: resolved,
      widths: plan.widths,
      allocation: allocated.allocation,
      removedLayers: allocated.removed,
      sizes: { ...plan.sizes, weightBytes: { ...plan.sizes.weightBytes, after: checkpointWriter.weightBytes } },
      calibration: { source, seqLen: windows.seqLen, texts },
      layers,
      notices,
    }
    signal?.throwIfAborted()
    await checkpointWriter.finish(folderFiles(model, plan, recipe))
    finished = true
    return { ...recipe, seconds: clock.stop(), engineSeconds: difference(input.engine.seconds, engineBefore) }
  } finally {
    await pool?.close()
    if (!finished) await sink.abort() // an error, or a caller that stopped listening
  }
}

interface PruneJob {
  readonly pool: ActivationPool
  readonly model: Model
  readonly engine: Engine
  readonly windows: Windows
  readonly plan: Plan
  readonly dense?: DenseStatistics
  readonly options: ResolvedOptions
  readonly writer: ModelWriter
  readonly signal?: AbortSignal
}

/** Prunes all layers, writing each tensor as soon as it is final. @returns what was kept in each layer, and how well it fits */
async function* pruneLayers(job: PruneJob) {
  const { model, engine, writer, pool, windows, options } = job
  const a = model.architecture
  yield { type: 'phase', phase: 'prune', total: a.layers, unit: 'layers' } as const
  const pruned = await embedWindows(model, engine, windows.windows, pool)
  await writer.copyOutsideLayers()
  const { target, alpha } = options
  const dense = target === 'dense' ? { stream: await copyStream(pruned, a.hiddenSize, pool), alpha } : undefined
  const check = await HeldOutCheck.open(model, engine, windows)
  const runner = new HalfBlockRunner(engine, a, windows.seqLen)
  const layers: LayerResult[] = []
  for (let layer = 0; layer < a.layers; layer++) {
    const [attention, ffn] = halfBlocks(a, layer)
    const through = { runner, pruned, dense, check }
    if (job.plan.layers.after.includes(layer))
      layers.push({
        attention: yield* pruneHalf(job, through, attention),
        ffn: yield* pruneHalf(job, through, ffn),
      })
    else await check?.passRemoved(runner, layer, job.signal)
    yield { type: 'progress', done: layer + 1, tokens: pruned.tokens } as const
  }
  return { layers, losses: await check?.losses() }
}

/** What goes through the layers together. */
interface Streams {
  readonly runner: HalfBlockRunner
  readonly pruned: Stream
  readonly dense?: DenseTarget
  readonly check?: HeldOutCheck
}

/**
 * Prunes one half-block, writes it, and takes the streams through it. With a dense target one that keeps all is repaired, too: its output layer
 * makes up for a part of what was cut before it. Undefined where nothing changes.
 */
async function* pruneHalf(
  job: PruneJob,
  { runner, pruned: stream, dense, check }: Streams,
  half: HalfBlock,
): AsyncGenerator<ProgressEvent, HalfResult | undefined> {
  const { model, engine, plan, options, writer, signal } = job
  const a = model.architecture
  const original = await readHalf(model, half)
  const keep = plan.widths.after[plan.layers.after.indexOf(half.layer)]
  const cuts = narrows(a, half, keep)
  const repairs = dense && dense.alpha > 0 && options.sparsity > 0
  if (!cuts && !repairs) {
    // Where only whole layers go, nothing is measured on the stream.
    if (options.scope !== 'layers')
      for (const s of dense ? [stream, dense.stream] : [stream]) await passThrough(runner, s, original, signal)
    await check?.pass(runner, original, undefined, signal)
    await writer.copyHalf(half)
    return undefined
  }
  const aligned = repairs && options.inputs === 'aligned'
  const weights = aligned
    ? writer.rounded(await alignInputs(runner, stream, original, dense, options.damp, signal))
    : original
  const beside = dense && { ...dense, weights: original }
  const { statistics, hidden } = await observe(runner, job.pool, stream, weights, beside, signal)
  const rotates = cuts && options.vo === 'rotate' && half.kind === 'attention'
  const rotated = rotates ? await rotateValues(engine, a, weights, statistics) : undefined
  const seen = rotated ?? { weights, statistics, dense: job.dense?.layers[half.layer][half.kind] }
  const selected = cuts ? await selectKept(engine, a, seen, keep, options) : undefined
  if (selected) yield { type: 'selected', half: half.output.name, scores: selected.scores, kept: selected.kept }
  const { kept, columns } = selected ?? keepAll(a, half)
  const { weight, bias, ...errors } = await restore(job, seen, columns)
  const output = await writer.writePruned(seen.weights, kept, columns, { weight, bias })
  const pruned = rotated ? await unrotateOutput(engine, a, rotated, output) : { output, columns }
  await advance(runner, stream, weights, pruned, hidden, signal)
  await check?.pass(runner, original, { weights, output: pruned }, signal)
  return { kept: [...kept], ...errors }
}

function restore(job: PruneJob, { weights, statistics, dense }: Candidates, columns: Int32Array) {
  const { half, output } = weights
  const removed = complement(columns, statistics.width)
  const options = { ...job.options, means: dense?.mean, layer: half.output.name }
  return restoreColumns(job.engine, output.weight, output.bias, statistics, columns, removed, options)
}
