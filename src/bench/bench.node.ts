// One workload from end to end: rates of the machine, a random model on disk, `prune` on it, and where the seconds went.
// The result is the document of result.ts; table.ts turns it into text.
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomNumbers } from '../blocks/sampler.ts'
import type { SideFile } from '../checkpoint/checkpoint.ts'
import { jsonFile } from '../checkpoint/checkpoint.ts'
import { bytes as showBytes } from '../display.ts'
import { OutputError } from '../errors.ts'
import type { JsonObject } from '../formats/json.ts'
import {
  type Architecture,
  describeMachine,
  describeModel,
  type EngineOptions,
  openEngine,
  openFolderSink,
  openModel,
  type ProgressEvent,
  type PruneResult,
  planPrune,
  prune,
  type Windows,
} from '../node.ts'
import { checkRange, type PruneOptions } from '../options.ts'
import { peakMemory } from '../report/machine.node.ts'
import { madeNow } from '../report/result-file.ts'
import { measureProducts } from './product-rate.ts'
import { checkpointBytes, writeRandomCheckpoint } from './random-checkpoint.ts'
import { type BenchResult, type Run, summarise } from './result.ts'
import type { Workload } from './workloads.ts'

export interface BenchOptions extends EngineOptions {
  readonly workload: Workload
  /** Files that go beside the random weights, so that the folder is complete: a tokenizer. */
  readonly sideFiles: readonly SideFile[]
  /** Prune this model, on as many tokens, instead of a random one. */
  readonly model?: string
  /** @default the workload's */
  readonly windows?: number
  /** As of `prune`. */
  readonly products?: PruneOptions['products']
  /** GiB of memory for activations. @default that of `prune` */
  readonly memory?: number
  /** Work in this folder and leave `model` and `pruned` there; a model that is there is used again. @default a temporary folder */
  readonly keep?: string
  readonly signal?: AbortSignal
}

const SPARSITY = 0.3
const SEED = 0

/** @throws FaspError */
export async function* bench(options: BenchOptions): AsyncGenerator<ProgressEvent, BenchResult> {
  const { workload, keep, device, threads, blas, signal } = options
  const windows = options.windows ?? workload.windows
  checkRange('windows', windows, 1, 1e6, true)
  const machine = describeMachine({ device, threads, blas })
  const folder = keep ?? (await mkdtemp(join(tmpdir(), 'fasp-bench-')))
  try {
    const path = options.model ?? join(folder, 'model')
    if (!options.model) yield* provideModel(path, options)
    const a = yield* architectureAt(path, signal)
    yield { type: 'notice', message: 'Measuring matrix products.' }
    const engine = openEngine({ device, threads, blas })
    const rates = await measureProducts(engine, a).finally(() => engine.close())
    signal?.throwIfAborted()
    const { products, memory } = options
    const settings = { sparsity: SPARSITY, preset: 'paper', products, memory } as const
    const output = join(folder, 'pruned')
    const input = { windows: randomWindows(a.vocabularySize, windows, workload.seqLen), output, overwrite: true }
    const run = yield* timed(prune(path, { ...settings, ...input, device, threads, blas, signal }))
    const { name, wholeLayers, seqLen } = workload
    const { activationBytes } = await planPrune(path, { ...settings, samples: windows, seqLen })
    const size = { name, model: options.model, products, windows, seqLen, tokens: windows * seqLen, sparsity: SPARSITY }
    const measured = summarise(a, size, options.model ? undefined : wholeLayers, rates, run)
    return { schema: 2, ...madeNow(machine), ...measured, activationBytes, peakMemoryBytes: peakMemory() }
  } finally {
    if (!keep) await rm(folder, { recursive: true, force: true })
  }
}

/** Writes the random model, unless it is there. */
async function* provideModel(
  path: string,
  { workload, sideFiles, signal }: BenchOptions,
): AsyncGenerator<ProgressEvent> {
  const { config } = workload
  const found = await readFile(join(path, 'config.json')).catch(() => undefined)
  if (found && Buffer.compare(found, jsonFile('config.json', config).bytes) === 0) return
  if (found) throw new OutputError(`${path} holds another model. Choose another folder for --keep.`)
  const size = checkpointBytes(config)
  const sink = await openFolderSink(path, false, size)
  yield { type: 'notice', message: `Writing a random model of ${showBytes(size)} to ${path}.` }
  await writeRandomCheckpoint(sink, config as JsonObject, SEED, sideFiles, signal)
}

async function* architectureAt(path: string, signal?: AbortSignal): AsyncGenerator<ProgressEvent, Architecture> {
  const checkpoint = yield* openModel(path, { signal })
  try {
    return describeModel(checkpoint).architecture
  } finally {
    await checkpoint.close()
  }
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
