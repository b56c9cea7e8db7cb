// Public API of Node: everything in `index.ts`, and the same verbs over paths.
import { stat } from 'node:fs/promises'
import { openScratch } from './blocks/scratch.node.ts'
import { type CalibrationInput, calibrationSource } from './calibrate/calibration.ts'
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
import { describeModel } from './model/model.ts'
import { checkRange, type PruneOptions, resolveOptions, TEXT_WINDOWS } from './options.ts'
import { makePlan, type Plan } from './plan.ts'
import { prune as pruneCheckpoint } from './prune.ts'
import type { PerplexityResult, PruneResult } from './result.ts'
import { openFolderSink } from './write/folder.node.ts'

export { readText } from './calibrate/text.node.ts'
export { openEngine } from './engine/engine.node.ts'
export * from './index.ts'
export { checkOutput, openFolderSink } from './write/folder.node.ts'

/** Opens a Hugging Face folder or a `.gguf` file. @throws FormatError, UnsupportedModelError */
export async function openCheckpoint(path: string): Promise<Checkpoint> {
  const info = await stat(path).catch(cause => {
    throw new FormatError(path, `there is no such file or folder. ${missingHint(path)}`, { cause })
  })
  if (info.isDirectory()) return openHuggingFace(path)
  if (path.toLowerCase().endsWith('.gguf')) return openGgufCheckpoint(path)
  throw new FormatError(path, 'is a file, but not a .gguf. Give the folder that holds config.json, or a .gguf file.')
}

/** A name as the Hub has them, `facebook/opt-125m`, is what people try first. */
const missingHint = (path: string): string =>
  /^[\w.-]+\/[\w.-]+$/.test(path) && !path.startsWith('.')
    ? `fasp reads local files only. If this is a model on the Hugging Face Hub, fetch it first: hf download ${path} --local-dir ${path.split('/')[1]}`
    : 'Give a Hugging Face model folder or a .gguf file.'

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

/** Prunes the model at `path` into the folder `output`. Yields progress, returns the result. @throws FaspError */
export async function* prune(path: string, options: PrunePathOptions): AsyncGenerator<ProgressEvent, PruneResult> {
  const { output, overwrite = false, calibration, windows, device, threads, signal, ...pruneOptions } = options
  const engine = openEngine({ device, threads })
  const checkpoint = await openCheckpoint(path)
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
  const checkpoint = await openCheckpoint(path)
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
      const ids = tokenizer.encode(await readText(name))
      const windows = evaluationWindows({ name, ids }, seqLen, vocabularySize, options.maxWindows)
      const result = yield* perplexity(model, engine, windows, options.phase ?? 'evaluate', options.signal)
      results.push({ ...result, bos })
    }
    return results
  } finally {
    await engine.close()
    await checkpoint.close()
  }
}
