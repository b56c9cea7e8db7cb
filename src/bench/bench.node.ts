// One workload from end to end: a random model on disk, rates of the machine, `prune` on the model, and where the seconds went.
// The result is the document of result.ts; table.ts turns it into text.
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { SideFile } from '../checkpoint/checkpoint.ts'
import { jsonFile } from '../checkpoint/checkpoint.ts'
import { bytes as showBytes } from '../display.ts'
import { OutputError } from '../errors.ts'
import { readSmallFile } from '../formats/file.node.ts'
import type { JsonObject } from '../formats/json.ts'
import {
  type Architecture,
  describeMachine,
  type EngineOptions,
  openEngine,
  openModelEvents,
  type ProgressEvent,
  type PruneResult,
  prepareEvents,
  type Windows,
} from '../node.ts'
import { checkRange, type PruneOptions } from '../options.ts'
import { randomNumbers } from '../random.ts'
import { peakMemory } from '../report/machine.node.ts'
import { madeNow } from '../report/result-file.ts'
import { checkOptions } from '../run.ts'
import { openFolderSink, temporaryFolder } from '../write/folder.node.ts'
import { checkOutput } from '../write/place.node.ts'
import { measureProducts } from './product-rate.ts'
import { checkpointBytes, writeRandomCheckpoint } from './random-checkpoint.ts'
import { type BenchResult, type Run, summarise } from './result.ts'
import type { Workload } from './workloads.ts'

export interface BenchOptions {
  readonly workload: Workload
  /** Files that go beside the random weights, so that the folder is complete: a tokenizer. */
  readonly sideFiles: readonly SideFile[]
  /** Prune this model instead of a random one, in windows of the same length, or of its context where that is less. */
  readonly model?: string
  /** @default the workload's */
  readonly windows?: number
  /** As of `prune`. */
  readonly products?: PruneOptions['products']
  /** GiB of memory for activations. @default that of `prune` */
  readonly memory?: number
  /** Work in this folder and leave `model` and `pruned` there; a model that is there is used again. @default a temporary folder */
  readonly keep?: string
  readonly engine?: EngineOptions
  readonly signal?: AbortSignal
}

const SPARSITY = 0.3
const SEED = 0
/** One that we wrote has a few hundred. */
const MAX_CONFIG_BYTES = 2 ** 16

/** @throws FaspError */
export async function* bench(options: BenchOptions): AsyncGenerator<ProgressEvent, BenchResult> {
  const { workload, model, products, memory, keep, engine: engineOptions, signal } = options
  const windows = options.windows ?? workload.windows
  const settings = { sparsity: SPARSITY, method: 'paper', products, memory } as const
  checkRange('windows', windows, 1, 1e6, true)
  checkOptions(settings)
  await using engine = openEngine(engineOptions)
  const folder = keep ?? (await temporaryFolder('fasp-bench', ', or give one with --keep'))
  const output = join(folder, 'pruned')
  try {
    // Refused before gigabytes are written: an output that is not ours, products or a device that this machine lacks.
    await checkOutput(output, true)
    engine.inPrecision(products)
    await engine.linalg.multiply(new Float32Array(1), new Float32Array(1), 1)
    const path = model ?? join(folder, 'model')
    if (model === undefined) yield* provideModel(path, options)
    const a = yield* architectureAt(path, signal)
    const seqLen = Math.min(workload.seqLen, a.maxPositions)
    const input = { calibration: randomWindows(a.vocabularySize, windows, seqLen), output, overwrite: true }
    await using prepared = yield* prepareEvents(path, { ...settings, ...input, engine: engineOptions, signal })
    const { activationBytes } = prepared.plan
    yield { type: 'notice', message: 'Measuring matrix products.' }
    const rates = await measureProducts(engine, a)
    await engine.close() // its memory is no part of the run
    signal?.throwIfAborted()
    const run = yield* timed(prepared.pruneEvents())
    const { name, wholeLayers } = workload
    const size = { name, model, products, windows, seqLen, tokens: windows * seqLen, sparsity: SPARSITY }
    const measured = summarise(a, size, model === undefined ? wholeLayers : undefined, rates, run)
    const made = madeNow(describeMachine(engineOptions, products))
    return { schema: 2, ...made, ...measured, activationBytes, peakMemoryBytes: peakMemory() }
  } finally {
    if (keep === undefined) await rm(folder, { recursive: true, force: true })
  }
}

/** Writes the random model, unless it is there. */
async function* provideModel(
  path: string,
  { workload, sideFiles, signal }: BenchOptions,
): AsyncGenerator<ProgressEvent> {
  const { config } = workload
  const found = await readSmallFile(join(path, 'config.json'), MAX_CONFIG_BYTES).catch(() => undefined)
  if (found && Buffer.compare(found, jsonFile('config.json', config).bytes) === 0) return
  const other = await readdir(path).catch(() => [])
  if (other.length > 0) throw new OutputError(`${path} holds another model. Choose another folder for --keep.`)
  const size = checkpointBytes(config)
  const sink = await openFolderSink(path, false, { expectedBytes: 2 * size }) // the pruned one is as large, in layout padded
  yield { type: 'notice', message: `Writing a random model of ${showBytes(size)} to ${path}.` }
  await writeRandomCheckpoint(sink, config as JsonObject, SEED, sideFiles, signal)
}

async function* architectureAt(path: string, signal?: AbortSignal): AsyncGenerator<ProgressEvent, Architecture> {
  await using model = yield* openModelEvents(path, { signal })
  return model.architecture
}

function randomWindows(vocabulary: number, count: number, seqLen: number): Windows {
  const random = randomNumbers(SEED)
  const window = () => Int32Array.from({ length: seqLen }, () => Math.floor(random() * vocabulary))
  const windows = Array.from({ length: count }, window)
  return { seqLen, windows, texts: [{ name: 'random ids', tokens: count * seqLen, available: count, used: count }] }
}

async function* timed(events: AsyncGenerator<ProgressEvent, PruneResult>): AsyncGenerator<ProgressEvent, Run> {
  const started = performance.now()
  const layerSeconds: number[] = []
  let since = started
  for (;;) {
    const step = await events.next()
    const now = performance.now()
    if (step.done) return { result: step.value, seconds: (now - started) / 1000, layerSeconds }
    if (step.value.type === 'progress') layerSeconds.push((now - since) / 1000)
    if (step.value.type === 'progress' || step.value.type === 'phase') since = now
    yield step.value
  }
}
