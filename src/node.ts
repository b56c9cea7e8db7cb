// Public API of Node: everything in `index.ts`, and the same verbs over paths.
import { stat } from 'node:fs/promises'
import { openScratch } from './blocks/scratch.node.ts'
import { type CalibrationInput, calibrationSource } from './calibrate/calibration.ts'
import { sameCorpus } from './calibrate/corpus.ts'
import { readText } from './calibrate/text.node.ts'
import { loadTokenizer } from './calibrate/tokenizer.ts'
import { evaluationWindows, type Windows } from './calibrate/windows.ts'
import type { Checkpoint } from './checkpoint/checkpoint.ts'
import { openGgufCheckpoint } from './checkpoint/gguf.node.ts'
import { openHuggingFace } from './checkpoint/huggingface.node.ts'
import { openEngine } from './engine/engine.node.ts'
import type { EngineOptions } from './engine/engine.ts'
import { FormatError } from './errors.ts'
import { perplexity } from './evaluate/perplexity.ts'
import type { Phase, ProgressEvent } from './events.ts'
import { fetchModel } from './hub/fetch.node.ts'
import { describeModel } from './model/model.ts'
import { corpusNotice } from './notices.ts'
import { checkRange, type PruneOptions, resolveOptions, TEXT_WINDOWS } from './options.ts'
import { makePlan, type Plan } from './plan.ts'
import { prune as pruneCheckpoint } from './prune.ts'
import type { PerplexityResult, PruneResult } from './result.ts'
import { checkOutput, openFolderSink } from './write/folder.node.ts'

export { readText } from './calibrate/text.node.ts'
export { openEngine } from './engine/engine.node.ts'
export { fetchModel } from './hub/fetch.node.ts'
export { type PushOptions, type PushResult, push } from './hub/push.node.ts'
export * from './index.ts'
export { checkOutput, openFolderSink } from './write/folder.node.ts'

export interface OpenOptions {
  readonly signal?: AbortSignal
}

/**
 * Opens a Hugging Face folder, a `.gguf` file, or a model on the Hub (`org/name`, see `fetchModel`), which is fetched first.
 * @throws FormatError, UnsupportedModelError, HubError
 */
export async function openCheckpoint(path: string, options?: OpenOptions): Promise<Checkpoint> {
  const opening = openModel(path, options)
  for (;;) {
    const step = await opening.next()
    if (step.done) return step.value
  }
}

/** `openCheckpoint` that tells how the download goes. */
export async function* openModel(path: string, options?: OpenOptions): AsyncGenerator<ProgressEvent, Checkpoint> {
  const local = yield* fetchModel(path, options)
  if ((await stat(local)).isDirectory()) return { ...(await openHuggingFace(local)), name: path }
  if (local.toLowerCase().endsWith('.gguf')) return { ...(await openGgufCheckpoint(local)), name: path }
  throw new FormatError(path, 'is a file, but not a .gguf. Give the folder that holds config.json, or a .gguf file.')
}

export interface PrunePathOptions extends PruneOptions, EngineOptions {
  /** Folder to write. */
  readonly output: string
  /** Replace an output that an earlier run wrote. @default false */
  readonly overwrite?: boolean
  /** Text files (.txt, .jsonl, .parquet, .gz of these), in equal shares. @default the model writes its own text */
  readonly calibration?: readonly string[]
  /** Calibration windows, ready made, instead. */
  readonly windows?: Windows
  readonly signal?: AbortSignal
}

/** Prunes the model at `path` (as for `openCheckpoint`) into the folder `output`. Yields progress, returns the result. @throws FaspError */
export async function* prune(path: string, options: PrunePathOptions): AsyncGenerator<ProgressEvent, PruneResult> {
  const { output, overwrite = false, calibration, windows, device, threads, signal, ...pruneOptions } = options
  await checkOutput(output, overwrite) // before a long download
  const engine = openEngine({ device, threads })
  const checkpoint = yield* openModel(path, { signal })
  try {
    const source = { windows, texts: calibration?.map(asText) }
    const plan = planFor(checkpoint, pruneOptions, source)
    const sink = await openFolderSink(output, overwrite, plan.sizes.weightBytes.after)
    const input = {
      checkpoint,
      engine,
      sink,
      openScratch: () => openScratch(output),
      ...source,
      signal,
    }
    return yield* pruneCheckpoint(input, pruneOptions)
  } finally {
    await engine.close()
    await checkpoint.close()
  }
}

/** What `prune` would do: widths, parameters, bytes, memory. Reads no weights. @throws FaspError */
export async function planPrune(
  path: string,
  options: PruneOptions & { calibration?: readonly string[] },
): Promise<Plan> {
  const { calibration, ...pruneOptions } = options
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

export interface EvaluateOptions extends EngineOptions {
  /** Text files. */
  readonly text: readonly string[]
  /** Tokens per window. @default 1024, or the model's context */
  readonly seqLen?: number
  /** The first so many windows of each text. @default all */
  readonly maxWindows?: number
  /** What the progress calls this. @default 'evaluate' */
  readonly phase?: Phase
  readonly signal?: AbortSignal
}

/** Perplexity of the model at `path` on each text. @throws FaspError */
export async function* evaluate(
  path: string,
  options: EvaluateOptions,
): AsyncGenerator<ProgressEvent, PerplexityResult[]> {
  const engine = openEngine(options)
  const checkpoint = yield* openModel(path, options)
  try {
    const model = describeModel(checkpoint)
    const { maxPositions, vocabularySize } = model.architecture
    const seqLen = options.seqLen ?? Math.min(TEXT_WINDOWS.seqLen, maxPositions)
    checkRange('seq-len', seqLen, 2, maxPositions, true)
    if (options.maxWindows !== undefined) checkRange('max-windows', options.maxWindows, 1, 1e9, true)
    const tokenizer = loadTokenizer(checkpoint)
    const bos = tokenizer.encode('').length > 0
    const results: PerplexityResult[] = []
    for (const name of options.text) {
      const calibratedOn = checkpoint.card?.calibratedOn?.find(text => sameCorpus(text, name))
      if (calibratedOn) yield { type: 'notice', message: corpusNotice(name, calibratedOn) }
      const ids = tokenizer.encode(await readText(name))
      const windows = evaluationWindows({ name, ids }, seqLen, vocabularySize, options.maxWindows)
      const result = yield* perplexity(model, engine, windows, options.phase ?? 'evaluate', options.signal)
      results.push({ ...result, bos, calibratedOn })
    }
    return results
  } finally {
    await engine.close()
    await checkpoint.close()
  }
}
