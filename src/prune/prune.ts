// The pipeline. Half-block by half-block: hidden activations → statistics → score → select → restore → write, each on
// the stream that the already pruned model before it produces (arXiv 2501.09412; docs/method.md).
import { Clock, difference, total } from '../base/clock.ts'
import { notice, type Phase, type Progress } from '../base/events.ts'
import type { Engine, Moved } from '../engine/engine.ts'
import { HalfBlockRunner } from '../forward/runner.ts'
import { embedWindows, type Recall } from '../forward/stream.ts'
import { Twins } from '../forward/stream-pair.ts'
import { readHalves } from '../forward/weights.ts'
import { type Allocated, allocate } from '../method/allocate/allocate.ts'
import type { DenseStatistics } from '../method/statistics/dense.ts'
import { expertsOf, halfBlocks, layersOf } from '../model/architecture.ts'
import { enoughTokens, optionsOn } from '../options/options.ts'
import { typesOf } from '../options/plan.ts'
import { ActivationPool, type Scratch } from '../output/activations.ts'
import type { Sink } from '../output/sink.ts'
import { type Held, type Saved, UNSAVED } from '../output/steps.ts'
import { ALONE, type Group } from '../ranks/group.ts'
import { fewTokensNotices, resultNotices } from '../result/notices.ts'
import type { LayerResult, PruneResult } from '../result/result.ts'
import { calibration } from '../text/calibration.ts'
import type { Windows } from '../text/windows.ts'
import { CheckpointWriter } from '../write/huggingface/checkpoint.ts'
import { folderFiles } from '../write/huggingface/folder-files.ts'
import { ModelWriter } from '../write/model.ts'
import { HeldOutCheck } from './held-out.ts'
import { type PruneJob, pruneHalf, type Stage } from './prune-half.ts'
import { pruneMixture } from './prune-mixture.ts'
import { recipeOf, textResults } from './recipe.ts'
import { type PreparedRun, withWidths } from './run.ts'

/** What a run takes beside what it is. */
export interface PruneInput {
  readonly engine: Engine
  readonly sink: Sink
  /** Of the dense model on the same windows, where the caller has them. @default methods that need them compute them */
  readonly denseStatistics?: DenseStatistics
  /** The dense stream on these windows as an earlier run had it. */
  readonly recall?: Recall
  /** Where the Gram matrices of what changed layers read go, for exports to round with. */
  readonly statistics?: Sink
  /** Where activations go that do not fit `memory`. Without it, all are in memory. */
  readonly openScratch?: () => Promise<Scratch>
  /** What an earlier run has done, and where what this one does is kept. */
  readonly saved?: Saved
  /** What is written is healed after that. @default false */
  readonly heals?: boolean
  readonly signal?: AbortSignal
  /** The processes that do this together. Only the root's sink gets what is written. @default this one alone */
  readonly group?: Group
}

/**
 * Prunes as `prepare` decided, into a Hugging Face folder. The sink shows all files at the end, or none if this throws.
 * @throws FaspError one of its classes: bad text, weights, or output
 */
export async function* prune(run: PreparedRun, input: PruneInput): Progress<PruneResult> {
  const { model, method } = run
  const { engine, sink, saved = UNSAVED, signal, group = ALONE } = input
  const clock = new Clock<Phase>()
  const pool = new ActivationPool(run.options.memory * 2 ** 30, input.openScratch, engine.array)
  const context = { engine, pool, signal, group }
  const stages = new Clock<Stage>(() => total(engine.seconds) + pool.seconds)
  const engineBefore = { ...engine.seconds }
  const movedInAll = meter(engine)
  let finished = false
  try {
    const notices: string[] = []
    const tell = function* (messages: readonly string[]) {
      notices.push(...messages)
      for (const message of messages) yield notice(message)
    }
    yield* tell(run.notices)
    engine.inPrecision(run.options.products)
    clock.start('calibration text')
    stages.start('calibration')
    const own = yield* saved.step('calibration', () => calibration(context, model, run.calibration, run.options))
    const windows = await group.decide(() => own)
    yield { type: 'windows', ...windows } as const
    const tokens = windows.windows.length * windows.seqLen
    const resolved = optionsOn(tokens, run)
    if (resolved !== run.options)
      yield* tell(fewTokensNotices(tokens, resolved, run.options, enoughTokens(model.architecture)))
    const options = { ...resolved, own: method.own }
    clock.start('allocate')
    stages.start('allocation')
    const sharing = { ...options, fits: run.fits, saved }
    const allocated: Allocated =
      resolved.sparsity > 0
        ? yield* saved.step('allocation', () => allocate(context, model, windows, sharing, input.denseStatistics))
        : {}
    const { plan } = withWidths(run, allocated)
    const checkpointWriter = new CheckpointWriter(sink, plan.tensors)
    const typeOf = typesOf(plan, model.architecture)
    const statistics = input.statistics && new CheckpointWriter(input.statistics, plan.grams)
    const writing = { ...resolved, layers: plan.layers.after, typeOf, statistics }
    const writer = new ModelWriter(model, checkpointWriter, writing)
    clock.start('prune')
    const job = { ...context, model, plan, dense: allocated.dense, options, writer, typeOf, stages }
    const outputs = { weights: checkpointWriter, statistics }
    const { layers, losses, moved } = yield* pruneLayers(job, windows, saved, outputs, input.recall)
    const outsideSeconds = { ...stages.stop(), scratch: pool.seconds }
    clock.start('write')
    const texts = textResults(windows, losses)
    yield* tell(resultNotices(layers, texts, resolved, input.heals))
    const recipe = recipeOf(run, { plan, options: resolved, allocated, windows, layers, texts, notices })
    signal?.throwIfAborted()
    await statistics?.finish([])
    await checkpointWriter.finish(folderFiles(model, plan, recipe))
    finished = true
    const [engineSeconds, all] = [difference(engine.seconds, engineBefore), movedInAll()]
    return { ...recipe, seconds: clock.stop(), engineSeconds, outsideSeconds, moved: all && { ...all, layers: moved } }
  } finally {
    await pool.close()
    if (!finished) await sink.abort() // an error, or a caller that stopped listening
  }
}

/** Prunes all layers; each tensor is written once it is final. @returns what each layer kept, and how well it fits */
async function* pruneLayers(job: PruneJob, windows: Windows, saved: Saved, outputs: Held['outputs'], recall?: Recall) {
  const { model, engine, writer, stages } = job
  const a = model.architecture
  stages.start('embedding')
  const runner = new HalfBlockRunner(engine, windows.seqLen, job.options.products)
  const calibration = new Twins(await embedWindows(job, model, runner, windows.windows), recall)
  const check = await HeldOutCheck.open(job, model, runner, windows)
  const streams = { calibration, check }
  saved.holds({ streams: { calibration, check: check?.streams }, outputs })
  const layers: LayerResult[] = []
  const moved: Moved[] = []
  const movedSince = meter(engine)
  const stay = job.plan.layers.after
  const halves = stay.flatMap(layer => halfBlocks(a, layer)).filter(({ layer, kind }) => !saved.has(`${kind} ${layer}`))
  const weights = readHalves(model, halves)
  const prune = async function* (by: typeof pruneHalf) {
    stages.start('reading')
    return yield* by(job, streams, (await weights.next()).value!)
  }
  yield { type: 'phase', phase: 'prune', total: layersOf(a), unit: 'layers' } as const
  for (let layer = 0; layer < layersOf(a); layer++) {
    if (stay.includes(layer))
      layers.push({
        attention: yield* saved.step(`attention ${layer}`, () => prune(pruneHalf)),
        ffn: yield* saved.step(`ffn ${layer}`, () => prune(expertsOf(a) > 0 ? pruneMixture : pruneHalf)),
      })
    else {
      stages.start('losses')
      yield* saved.step(`removed ${layer}`, async () => check?.passRemoved(layer))
    }
    if (layer === 0) {
      stages.start('writing')
      // Here the work begins sooner than it would after this, and tables that are damaged still show early.
      yield* saved.step('tables', () => writer.copyOutsideLayers())
    }
    moved.push(...[movedSince()].filter(bytes => bytes !== undefined))
    yield { type: 'progress', done: layer + 1, tokens: calibration.pruned.tokens, layer: layers.at(-1) } as const
  }
  yield* saved.restore() // where all steps were done
  saved.holds() // after the next step all that is needed of the streams is known
  stages.start('losses')
  const losses = yield* saved.step('losses', async () => check?.losses())
  return { layers, losses, moved }
}

/** @returns what tells the bytes moved since it was asked last; undefined on a device without a memory of its own */
function meter({ moved }: Engine): () => Moved | undefined {
  let before: Partial<Moved> = { ...moved }
  return () => {
    const since = moved && (difference(moved, before) as Moved)
    before = { ...moved }
    return since
  }
}
