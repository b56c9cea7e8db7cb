// Public API of Node: everything in `index.ts`, and the same verbs over paths.
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { jsonFile } from './checkpoint/checkpoint.ts'
import { baseName } from './display.ts'
import { describeEngine, openEngine } from './engine/engine.node.ts'
import type { EngineOptions } from './engine/engine.ts'
import { engineNotice } from './engine/facts.ts'
import { UsageError } from './errors.ts'
import type { Measures } from './evaluate/measure.ts'
import { type MeasureOptions, measure } from './evaluate/public.ts'
import type { ProgressEvent } from './events.ts'
import { exportRequests, writeExports } from './export/export.node.ts'
import type { ExportResult } from './export/result.ts'
import { type ExportRequest, planExport, TARGETS } from './export/targets.ts'
import type { FloatDType } from './formats/dtype.ts'
import { openScratch } from './forward/scratch.node.ts'
import { openCheckpoint, openModel } from './hub/open.node.ts'
import { type LoadTasksOptions, readTasks } from './hub/tasks.node.ts'
import { describeModel, type Model } from './model/model.ts'
import { checkRange, type PruneOptions } from './options.ts'
import type { Plan } from './plan.ts'
import { prune as pruneModel } from './prune.ts'
import type { PruneResult } from './result.ts'
import { checkOptions, type PreparedRun, prepare as prepareModel } from './run.ts'
import type { DenseStatistics } from './statistics/dense.ts'
import { checkTexts, readText } from './text/text.node.ts'
import type { Windows } from './text/windows.ts'
import { VERSION } from './version.ts'
import { openFolderSink } from './write/folder.node.ts'
import { checkOutput, isGgufFile } from './write/place.node.ts'
import { type Sink, subSink, writeFile } from './write/sink.ts'
import type { ExportPlan } from './write/target.ts'

export { compare } from './compare/compare.node.ts'
export { type CompareMethod, compareMethod } from './compare/methods.ts'
export type { CompareOptions } from './compare/options.ts'
export { openEngine } from './engine/engine.node.ts'
export type { ExportResult } from './export/result.ts'
export { type ExportRequest, TARGETS, type TargetName } from './export/targets.ts'
export { fetchModel } from './hub/fetch.node.ts'
export { type OpenCheckpoint, type OpenOptions, openCheckpoint, openModel } from './hub/open.node.ts'
export { type PushOptions, type PushResult, push } from './hub/push.node.ts'
export { type LoadTasksOptions, loadTasks, loadWikitext } from './hub/tasks.node.ts'
export * from './index.ts'
export { describeMachine } from './report/machine.node.ts'
export { checkReport, type ReportOptions, readResult, writeReport } from './report/report.node.ts'
export { checkTexts, readText } from './text/text.node.ts'
export { openFolderSink } from './write/folder.node.ts'
export { checkOutput } from './write/place.node.ts'

export interface PrunePathOptions extends PruneOptions {
  /** Folder to write, or a `.gguf` file. */
  readonly output: string
  /** Formats to write the result in besides, each in a folder of its own below `output`. @default none; gguf where `output` is a `.gguf` */
  readonly to?: readonly ExportRequest[]
  /** Replace an output that an earlier run wrote. @default false */
  readonly overwrite?: boolean
  /** Text files (.txt, .jsonl, .parquet, .gz of these), in equal shares. @default the model writes its own text */
  readonly calibration?: readonly string[]
  /** Calibration windows, ready made, instead. */
  readonly windows?: Windows
  /** Of the dense model on these windows, where several runs share them (`denseStatistics`). */
  readonly denseStatistics?: DenseStatistics
  /** What multiplies, and where. @default this machine's CPU */
  readonly engine?: EngineOptions
  readonly signal?: AbortSignal
}

/** What `prune` gives for paths. */
export interface PrunePathResult extends PruneResult {
  readonly exports: readonly ExportResult[]
}

/** A prepared run on files. It holds the model open until it is disposed of, as `await using` does. */
export interface PathRun extends PreparedRun, AsyncDisposable {
  /** Runs it, as `prune(path, options)` does. */
  prune(): AsyncGenerator<ProgressEvent, PrunePathResult>
}

/**
 * Prunes the model at `path` into the folder `output`, and exports the result; or into a `.gguf` file, of which no folder remains.
 * Yields progress, returns the result.
 * @throws FaspError
 */
export async function* prune(path: string, options: PrunePathOptions): AsyncGenerator<ProgressEvent, PrunePathResult> {
  await using run = yield* prepare(path, options)
  return yield* run.prune()
}

/**
 * All of `prune` that comes before a weight is read: checks options, machine, output and texts, fetches the model where need be, opens it, and
 * decides how it is pruned. Yields progress, returns the run.
 * @throws FaspError
 */
export async function* prepare(path: string, options: PrunePathOptions): AsyncGenerator<ProgressEvent, PathRun> {
  const { output, to, overwrite = false, calibration, windows, denseStatistics, ...others } = options
  const { engine: engineOptions, signal, ...pruneOptions } = others
  const requests = exportRequests(output, to).map(request => withDtype(request, pruneOptions.dtype))
  const source = { windows, texts: calibration?.map(asText) }
  checkOptions(pruneOptions, source) // before a long download, all of it
  await checkOutput(output, overwrite, [path])
  await checkTexts(calibration)
  describeEngine(engineOptions, pruneOptions.products) // refuses what this machine lacks
  const checkpoint = yield* openModel(path, { signal })
  try {
    const model = describeModel(checkpoint)
    const planned = requests.map(request => planExport(model, request))
    const single = isGgufFile(output)
    const settings = single
      ? { ...pruneOptions, dtype: pruneOptions.dtype ?? intermediateType(planned[0]) }
      : pruneOptions
    const run = prepareModel(model, settings, source)
    return {
      ...run,
      [Symbol.asyncDispose]: checkpoint[Symbol.asyncDispose],
      async *prune() {
        await using engine = openEngine(engineOptions)
        const message = engineNotice(engine.facts)
        if (message) yield { type: 'notice', message }
        const exported = planned.reduce((sum, { bytes }) => sum + bytes, 0)
        const { scratch } = run.plan.activationBytes // on the same disk, and gone before exports are written
        const expected = scratch > exported ? 'the output with activations (--memory keeps more in memory)' : undefined
        const expectedBytes = run.plan.sizes.weightBytes.after + Math.max(exported, scratch)
        const sink = await openFolderSink(output, overwrite, { inputs: [path], expectedBytes, expected })
        const folder = single ? 'pruned/' : ''
        const place = { sink: subSink(sink, folder), openScratch: () => openScratch(output) }
        return yield* committed(sink, async function* () {
          const result = yield* pruneModel(run, { ...place, engine, denseStatistics, signal })
          if (requests.length === 0) return { ...result, exports: [] }
          await using pruned = await openCheckpoint(join(sink.pending, folder))
          // A GGUF source gives its tokenizer and names to a GGUF result.
          const written = describeModel({ ...pruned, name: output, gguf: checkpoint.gguf })
          const context = { open: openCheckpoint, engine, apart: !single, source: model, signal }
          const exports = yield* writeExports(written, requests, sink, context)
          return single ? withWeightBytes({ ...result, exports }, exports[0].bytes) : { ...result, exports }
        })
      },
    }
  } catch (error) {
    await checkpoint.close()
    throw error
  }
}

/** The type of the weights holds for exports that name none, where a target has it. */
const withDtype = ({ to, dtype }: ExportRequest, own: FloatDType | undefined): ExportRequest => ({
  to,
  dtype: dtype ?? TARGETS[to]?.dtypes.find(one => one === own),
})

/** The type of the folder that a GGUF file is made from and that does not remain. 11 bits are enough for 8 of a quantised type. */
const intermediateType = ({ dtype }: ExportPlan): FloatDType => (dtype === 'F32' || dtype === 'BF16' ? dtype : 'F16')

const withWeightBytes = (result: PrunePathResult, after: number): PrunePathResult => ({
  ...result,
  sizes: { ...result.sizes, weightBytes: { ...result.sizes.weightBytes, after } },
})

export interface ExportPathOptions {
  /** Folder to write, or a `.gguf` file. */
  readonly output: string
  /** Several have a folder each below `output`. @default gguf where `output` is a `.gguf` */
  readonly to?: readonly ExportRequest[]
  /** Replace an output that an earlier run wrote. @default false */
  readonly overwrite?: boolean
  /** Also run each export in the runtime that it is for, where that is installed (node-llama-cpp, @huggingface/transformers). @default false */
  readonly verify?: boolean
  /** What multiplies, and where. @default this machine's CPU */
  readonly engine?: EngineOptions
  readonly signal?: AbortSignal
}

/** Writes the model at `path` in other formats, and reads each back to check it. @throws FaspError */
export async function* exportModel(
  path: string,
  options: ExportPathOptions,
): AsyncGenerator<ProgressEvent, ExportResult[]> {
  const { output, to, overwrite = false, verify, engine: engineOptions, signal } = options
  const requests = exportRequests(output, to)
  if (requests.length === 0) throw new UsageError('no target. Say what to write, for example --to gguf.')
  await checkOutput(output, overwrite, [path])
  await using engine = openEngine(engineOptions)
  await using checkpoint = yield* openModel(path, { signal })
  const model = describeModel(checkpoint)
  const expectedBytes = requests.reduce((sum, request) => sum + planExport(model, request).bytes, 0)
  const sink = await openFolderSink(output, overwrite, { inputs: [path], expectedBytes })
  return yield* committed(sink, async function* () {
    const context = { open: openCheckpoint, engine, apart: requests.length > 1, verify, signal }
    const results = yield* writeExports(model, requests, sink, context)
    const { name, format, recipe } = checkpoint
    const source = { name: baseName(name), format, modelType: model.architecture.modelType }
    await writeFile(sink, jsonFile('fasp.json', { schema: 1, fasp: VERSION, source, ...recipe, exports: results }))
    return results
  })
}

/** Shows the output once `write` has ended well, and removes it on an error, or where the caller stops listening. */
async function* committed<T>(
  sink: Sink,
  write: () => AsyncGenerator<ProgressEvent, T>,
): AsyncGenerator<ProgressEvent, T> {
  let finished = false
  try {
    const result = yield* write()
    await sink.commit()
    finished = true
    return result
  } finally {
    if (!finished) await sink.abort()
  }
}

/** What `prune` would do: widths, parameters, bytes, memory. Reads no weights, and needs no output. @throws FaspError */
export async function* planPrune(
  path: string,
  options: PruneOptions & { readonly calibration?: readonly string[]; readonly signal?: AbortSignal },
): AsyncGenerator<ProgressEvent, Plan> {
  const { calibration, signal, ...pruneOptions } = options
  const source = { texts: calibration?.map(asText) }
  checkOptions(pruneOptions, source)
  await using checkpoint = yield* openModel(path, { signal })
  return prepareModel(describeModel(checkpoint), pruneOptions, source).plan
}

const asText = (name: string) => ({ name, read: () => readText(name) })

export interface EvaluateOptions
  extends Omit<MeasureOptions, 'texts' | 'dense' | 'tasks' | 'pages'>,
    Omit<LoadTasksOptions, 'data'> {
  /** Text files. @default none */
  readonly text?: readonly string[]
  /** A model, as `path`, to say how far this one has moved from. */
  readonly dense?: string
  /** Zero-shot tasks (`TASK_NAMES`), and `wikitext`. @default none */
  readonly tasks?: readonly string[]
  /** `data` of `loadTasks`. */
  readonly tasksData?: readonly string[]
  /** What multiplies, and where. @default this machine's CPU */
  readonly engine?: EngineOptions
}

/**
 * Perplexity on each text of a model, which is open or at a path, its distance to a dense model, zero-shot tasks.
 * @throws FaspError
 */
export async function* evaluate(of: string | Model, options: EvaluateOptions): AsyncGenerator<ProgressEvent, Measures> {
  const { text = [], dense: densePath, tasks: names = [], tasksData: data, signal } = options
  const { maxWindows, limit } = options
  if (maxWindows !== undefined) checkRange('max-windows', maxWindows, 1, 1e9, true) // all of this before a long download
  if (limit !== undefined) checkRange('limit', limit, 1, 1e9, true)
  await checkTexts(text)
  const { tasks, pages } = yield* readTasks(names, { data, signal })
  await using engine = openEngine(options.engine)
  await using checkpoint = typeof of === 'string' ? yield* openModel(of, options) : undefined
  const model = typeof of === 'string' ? describeModel(checkpoint!) : of
  await using denseCheckpoint = densePath === undefined ? undefined : yield* openModel(densePath, options)
  const openRows = () => openScratch(join(tmpdir(), 'fasp'))
  const dense = denseCheckpoint && { model: describeModel(denseCheckpoint), openRows }
  return yield* measure(model, engine, { ...options, texts: text.map(asText), dense, tasks, pages })
}
