// Public API of Node: everything in `index.ts`, and the same verbs over paths.
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CalibrationInput, calibrationSource } from './calibrate/calibration.ts'
import { checkTexts, readText } from './calibrate/text.node.ts'
import type { Windows } from './calibrate/windows.ts'
import { checkOptions } from './check-options.ts'
import { type Checkpoint, jsonFile } from './checkpoint/checkpoint.ts'
import { baseName } from './display.ts'
import { openEngine } from './engine/engine.node.ts'
import type { EngineOptions } from './engine/engine.ts'
import { UsageError } from './errors.ts'
import { type MeasureOptions, type Measures, measure } from './evaluate/measure.ts'
import type { ProgressEvent } from './events.ts'
import { exportRequests, writeExports } from './export/export.node.ts'
import type { ExportResult } from './export/result.ts'
import { type ExportRequest, planExport, TARGETS } from './export/targets.ts'
import type { FloatDType } from './formats/dtype.ts'
import { openScratch } from './forward/scratch.node.ts'
import { openCheckpoint, openModel } from './hub/open.node.ts'
import { type LoadTasksOptions, readTasks } from './hub/tasks.node.ts'
import { describeModel } from './model/model.ts'
import { checkRange, type PruneOptions, resolveOptions } from './options.ts'
import { makePlan, type Plan } from './plan.ts'
import { prune as pruneCheckpoint } from './prune.ts'
import type { PruneResult } from './result.ts'
import type { DenseStatistics } from './statistics/dense.ts'
import { VERSION } from './version.ts'
import { openFolderSink } from './write/folder.node.ts'
import { checkOutput, isGgufFile } from './write/place.node.ts'
import { type Sink, subSink, writeFile } from './write/sink.ts'
import type { ExportPlan } from './write/target.ts'

export { checkTexts, readText } from './calibrate/text.node.ts'
export { checkOptions } from './check-options.ts'
export { compare } from './compare/compare.node.ts'
export { type CompareMethod, compareMethod } from './compare/methods.ts'
export type { CompareOptions } from './compare/options.ts'
export { openEngine } from './engine/engine.node.ts'
export type { ExportResult } from './export/result.ts'
export { type ExportRequest, TARGETS, type TargetName } from './export/targets.ts'
export { fetchModel } from './hub/fetch.node.ts'
export { type OpenOptions, openCheckpoint, openModel } from './hub/open.node.ts'
export { type PushOptions, type PushResult, push } from './hub/push.node.ts'
export { type LoadTasksOptions, loadTasks, loadWikitext } from './hub/tasks.node.ts'
export * from './index.ts'
export { describeMachine } from './report/machine.node.ts'
export { checkReport, type ReportOptions, readResult, writeReport } from './report/report.node.ts'
export { openFolderSink } from './write/folder.node.ts'
export { checkOutput } from './write/place.node.ts'

export interface PrunePathOptions extends PruneOptions, EngineOptions {
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
  readonly signal?: AbortSignal
}

/** What `prune` gives for paths. */
export interface PrunePathResult extends PruneResult {
  readonly exports: readonly ExportResult[]
}

/**
 * Prunes the model at `path` into the folder `output`, and exports the result; or into a `.gguf` file, of which no folder remains.
 * Yields progress, returns the result.
 * @throws FaspError
 */
export async function* prune(path: string, options: PrunePathOptions): AsyncGenerator<ProgressEvent, PrunePathResult> {
  const { output, to, overwrite = false, calibration, windows, denseStatistics, ...others } = options
  const { device, threads, blas, signal, ...pruneOptions } = others
  const requests = exportRequests(output, to).map(request => withDtype(request, pruneOptions.dtype))
  const source = { windows, texts: calibration?.map(asText) }
  checkOptions(pruneOptions, source) // before a long download, all of it
  await checkOutput(output, overwrite, [path])
  await checkTexts(calibration)
  await using engine = openEngine({ device, threads, blas })
  engine.inPrecision(pruneOptions.products)
  const checkpoint = yield* openModel(path, { signal })
  try {
    const dense = describeModel(checkpoint)
    const planned = requests.map(request => planExport(dense, request))
    const single = isGgufFile(output)
    const settings = single
      ? { ...pruneOptions, dtype: pruneOptions.dtype ?? intermediateType(planned[0]) }
      : pruneOptions
    const plan = planFor(checkpoint, settings, source)
    const exported = planned.reduce((sum, { bytes }) => sum + bytes, 0)
    const { scratch } = plan.activationBytes // on the same disk, and gone before exports are written
    const expected = scratch > exported ? 'the output with activations (--memory keeps more in memory)' : undefined
    const expectedBytes = plan.sizes.weightBytes.after + Math.max(exported, scratch)
    const sink = await openFolderSink(output, overwrite, { inputs: [path], expectedBytes, expected })
    const folder = single ? 'pruned/' : ''
    const openTemporary = () => openScratch(output)
    const run = { checkpoint, engine, sink: subSink(sink, folder), openScratch: openTemporary, signal }
    const input = { ...run, ...source, denseStatistics }
    return yield* committed(sink, async function* () {
      const result = yield* pruneCheckpoint(input, settings)
      if (requests.length === 0) return { ...result, exports: [] }
      const pruned = await openCheckpoint(join(sink.pending, folder))
      try {
        // A GGUF source gives its tokenizer and names to a GGUF result.
        const model = describeModel({ ...pruned, name: output, gguf: checkpoint.gguf })
        const context = { open: openCheckpoint, engine, apart: !single, source: dense, signal }
        const exports = yield* writeExports(model, requests, sink, context)
        return single ? withWeightBytes({ ...result, exports }, exports[0].bytes) : { ...result, exports }
      } finally {
        await pruned.close()
      }
    })
  } finally {
    await checkpoint.close()
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

export interface ExportPathOptions extends EngineOptions {
  /** Folder to write, or a `.gguf` file. */
  readonly output: string
  /** Several have a folder each below `output`. @default gguf where `output` is a `.gguf` */
  readonly to?: readonly ExportRequest[]
  /** Replace an output that an earlier run wrote. @default false */
  readonly overwrite?: boolean
  /** Also run each export in the runtime that it is for, where that is installed (node-llama-cpp, @huggingface/transformers). @default false */
  readonly verify?: boolean
  readonly signal?: AbortSignal
}

/** Writes the model at `path` in other formats, and reads each back to check it. @throws FaspError */
export async function* exportModel(
  path: string,
  options: ExportPathOptions,
): AsyncGenerator<ProgressEvent, ExportResult[]> {
  const { output, to, overwrite = false, verify, device, threads, signal } = options
  const requests = exportRequests(output, to)
  if (requests.length === 0) throw new UsageError('no target. Say what to write, for example --to gguf.')
  await checkOutput(output, overwrite, [path])
  await using engine = openEngine({ device, threads })
  const checkpoint = yield* openModel(path, { signal })
  try {
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
  } finally {
    await checkpoint.close()
  }
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

/** What `prune` would do: widths, parameters, bytes, memory. Reads no weights. @throws FaspError */
export async function planPrune(
  path: string,
  options: PruneOptions & { calibration?: readonly string[] },
): Promise<Plan> {
  const { calibration, ...pruneOptions } = options
  checkOptions(pruneOptions, { texts: calibration?.map(asText) })
  const checkpoint = await openCheckpoint(path)
  try {
    return planFor(checkpoint, pruneOptions, { texts: calibration?.map(asText) })
  } finally {
    await checkpoint.close()
  }
}

function planFor(checkpoint: Checkpoint, options: PruneOptions, source: CalibrationInput): Plan {
  const model = describeModel(checkpoint)
  const resolved = resolveOptions(options, model.architecture, source)
  return makePlan(model, resolved, calibrationSource(source))
}

const asText = (name: string) => ({ name, read: () => readText(name) })

export interface EvaluateOptions
  extends EngineOptions,
    Omit<MeasureOptions, 'texts' | 'dense' | 'tasks' | 'pages'>,
    Omit<LoadTasksOptions, 'data'> {
  /** Text files. @default none */
  readonly text?: readonly string[]
  /** A model, as `path`, to say how far this one has moved from. */
  readonly dense?: string
  /** Zero-shot tasks (`TASK_NAMES`), and `wikitext`. @default none */
  readonly tasks?: readonly string[]
  /** `data` of `loadTasks`. */
  readonly tasksData?: readonly string[]
}

/** Perplexity of the model at `path` on each text, its distance to a dense model, zero-shot tasks. @throws FaspError */
export async function* evaluate(path: string, options: EvaluateOptions): AsyncGenerator<ProgressEvent, Measures> {
  const { text = [], dense: densePath, tasks: names = [], tasksData: data, signal } = options
  const { maxWindows, limit } = options
  if (maxWindows !== undefined) checkRange('max-windows', maxWindows, 1, 1e9, true) // all of this before a long download
  if (limit !== undefined) checkRange('limit', limit, 1, 1e9, true)
  await checkTexts(text)
  const { tasks, pages } = yield* readTasks(names, { data, signal })
  await using engine = openEngine(options)
  const opened: Checkpoint[] = []
  const open = async function* (path: string) {
    const checkpoint = yield* openModel(path, options)
    opened.push(checkpoint)
    return describeModel(checkpoint)
  }
  try {
    const model = yield* open(path)
    const openRows = () => openScratch(join(tmpdir(), 'fasp'))
    const dense = densePath === undefined ? undefined : { model: yield* open(densePath), openRows }
    return yield* measure(model, engine, { ...options, texts: text.map(asText), dense, tasks, pages })
  } finally {
    for (const checkpoint of opened) await checkpoint.close()
  }
}
