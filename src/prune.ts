// The pipeline. Half-block by half-block: hidden activations → statistics → score → select → restore → write, each on the stream
// that the already pruned model before it produces (arXiv 2501.09412; docs/method.md).
import { type Allocated, allocate } from './allocate/allocate.ts'
import { Clock, difference, total } from './clock.ts'
import { baseName, shortNames } from './display.ts'
import type { Engine } from './engine/engine.ts'
import { HeldOutCheck } from './evaluate/held-out.ts'
import type { Phase, ProgressEvent } from './events.ts'
import { ActivationPool, type Scratch } from './forward/activations.ts'
import { HalfBlockRunner } from './forward/runner.ts'
import { embedWindows } from './forward/stream.ts'
import { Twins } from './forward/twins.ts'
import { readHalves } from './forward/weights.ts'
import { expertsOf, halfBlocks, layersOf } from './model/architecture.ts'
import { dampingNotices, fewTokensNotice, lossNotices, overfitNotices } from './notices.ts'
import { enoughTokens, optionsOn } from './options.ts'
import { typesOf } from './plan.ts'
import { type PruneJob, pruneHalf, type Stage } from './prune-half.ts'
import { pruneMixture } from './prune-mixture.ts'
import type { LayerResult, PruneResult, Recipe } from './result.ts'
import { type PreparedRun, withWidths } from './run.ts'
import type { DenseStatistics } from './statistics/dense.ts'
import { calibration } from './text/calibration.ts'
import type { Windows } from './text/windows.ts'
import { VERSION } from './version.ts'
import { CheckpointWriter } from './write/checkpoint.ts'
import { folderFiles } from './write/folder-files.ts'
import { ModelWriter } from './write/model.ts'
import type { Sink } from './write/sink.ts'

/** What a run takes beside what it is. */
export interface PruneInput {
  readonly engine: Engine
  readonly sink: Sink
  /** Of the dense model on the same windows, where the caller has them: methods that need them compute them otherwise. */
  readonly denseStatistics?: DenseStatistics
  /** Where the Gram matrices of what changed layers read go, for exports to round with. */
  readonly statistics?: Sink
  /** Where activations go that do not fit `memory`. Without it, all are in memory. */
  readonly openScratch?: () => Promise<Scratch>
  readonly signal?: AbortSignal
}

/**
 * Prunes as `prepare` decided and writes the result as a Hugging Face folder. The sink shows all files at the end, or none where this throws.
 * @throws FaspError one of its classes: bad text, weights, or output
 */
export async function* prune(run: PreparedRun, input: PruneInput): AsyncGenerator<ProgressEvent, PruneResult> {
  const { model, method, source } = run
  const { engine, sink, signal } = input
  const clock = new Clock<Phase>()
  const pool = new ActivationPool(run.options.memory * 2 ** 30, input.openScratch)
  const context = { engine, pool, signal }
  const stages = new Clock<Stage>(() => total(engine.seconds) + pool.seconds)
  const engineBefore = { ...engine.seconds }
  let finished = false
  try {
    const notices: string[] = []
    const tell = function* (messages: readonly string[]) {
      for (const message of messages) {
        notices.push(message)
        yield { type: 'notice', message } as const
      }
    }
    yield* tell(run.notices)
    engine.inPrecision(run.options.products)
    clock.start('calibration text')
    stages.start('calibration')
    const windows = yield* calibration(context, model, run.calibration, run.options)
    const tokens = windows.windows.length * windows.seqLen
    const resolved = optionsOn(tokens, run)
    const enough = enoughTokens(model.architecture)
    if (resolved !== run.options && tokens < enough) yield* tell([fewTokensNotice(tokens, resolved, enough)])
    const options = { ...resolved, own: method.own }
    clock.start('allocate')
    stages.start('allocation')
    const sharing = { ...options, fits: run.fits }
    const allocated: Allocated =
      resolved.sparsity > 0 ? yield* allocate(context, model, windows, sharing, input.denseStatistics) : {}
    const { plan } = withWidths(run, allocated)
    const checkpointWriter = new CheckpointWriter(sink, plan.tensors)
    const typeOf = typesOf(plan, model.architecture)
    const statistics = input.statistics && new CheckpointWriter(input.statistics, plan.grams)
    const writing = { ...resolved, layers: plan.layers.after, typeOf, statistics }
    const writer = new ModelWriter(model, checkpointWriter, writing)
    clock.start('prune')
    const { dense } = allocated
    const job = { ...context, model, plan, dense, options, writer, typeOf, stages }
    const { layers, losses } = yield* pruneLayers(job, windows)
    const outsideSeconds = { ...stages.stop(), scratch: pool.seconds }
    clock.start('write')
    const names = shortNames(windows.texts.map(({ name }) => name))
    const texts = windows.texts.map((t, i) => ({ ...t, name: names[i], loss: losses?.[i] }))
    yield* tell([...dampingNotices(layers, resolved.damp), ...overfitNotices(texts), ...lossNotices(texts, resolved)])
    const { name, format, card, vocabulary } = model.checkpoint
    const recipe: Recipe = {
      schema: 1,
      fasp: VERSION,
      source: { name: baseName(name), hubId: card?.hubId, format, modelType: model.architecture.modelType },
      vocabulary,
      options: resolved,
      widths: plan.widths,
      trials: run.trials,
      allocation: allocated.allocation,
      removedLayers: allocated.removed,
      sizes: plan.sizes,
      calibration: { source, seqLen: windows.seqLen, texts },
      layers,
      notices,
    }
    signal?.throwIfAborted()
    await statistics?.finish([])
    await checkpointWriter.finish(folderFiles(model, plan, recipe))
    finished = true
    const engineSeconds = difference(engine.seconds, engineBefore)
    return { ...recipe, seconds: clock.stop(), engineSeconds, outsideSeconds }
  } finally {
    await pool.close()
    if (!finished) await sink.abort() // an error, or a caller that stopped listening
  }
}

/** Prunes all layers, writing each tensor as soon as it is final. @returns what was kept in each layer, and how well it fits */
async function* pruneLayers(job: PruneJob, windows: Windows) {
  const { model, engine, writer, stages } = job
  const a = model.architecture
  stages.start('embedding')
  const runner = new HalfBlockRunner(engine, windows.seqLen, job.options.products)
  const calibration = new Twins(await embedWindows(job, model, runner, windows.windows))
  const check = await HeldOutCheck.open(job, model, runner, windows)
  const streams = { calibration, check }
  const layers: LayerResult[] = []
  const stay = job.plan.layers.after
  const weights = readHalves(
    model,
    stay.flatMap(layer => halfBlocks(a, layer)),
  )
  const next = async () => {
    stages.start('reading')
    return (await weights.next()).value!
  }
  yield { type: 'phase', phase: 'prune', total: layersOf(a), unit: 'layers' } as const
  for (let layer = 0; layer < layersOf(a); layer++) {
    if (stay.includes(layer))
      layers.push({
        attention: yield* pruneHalf(job, streams, await next()),
        ffn: yield* (expertsOf(a) > 0 ? pruneMixture : pruneHalf)(job, streams, await next()),
      })
    else {
      stages.start('losses')
      await check?.passRemoved(layer)
    }
    if (layer === 0) {
      stages.start('writing')
      await writer.copyOutsideLayers() // the work begins sooner so, and tables that are damaged still show early
    }
    yield { type: 'progress', done: layer + 1, tokens: calibration.pruned.tokens } as const
  }
  stages.start('losses')
  return { layers, losses: await check?.losses() }
}
