// What a process of a comparison does: the dense model with all that is shared, or one pruned model, from calibration windows to measures.
import { rm } from 'node:fs/promises'
import { total } from '../base/clock.ts'
import { shortNames } from '../base/display.ts'
import { FormatError, UsageError } from '../base/errors.ts'
import type { Progress } from '../base/events.ts'
import { openEngine } from '../engine/engine.node.ts'
import { samplePrompt } from '../evaluate/continuations.ts'
import { type TextWindows, textWindows } from '../evaluate/measure.ts'
import { type Context, memoryContext } from '../forward/context.ts'
import { AS_IT_IS, healing, sizesOf } from '../heal/healing.node.ts'
import { openCheckpoint } from '../hub/open.node.ts'
import { readTasks } from '../hub/tasks.node.ts'
import { denseStatistics } from '../method/statistics/dense.ts'
import { describeModel, type Model } from '../model/model.ts'
import { ActivationPool, type Scratch } from '../output/activations.ts'
import { openFolderSink } from '../output/folder.node.ts'
import { activationFiles } from '../output/scratch.node.ts'
import { committed } from '../output/sink.ts'
import { UNSAVED } from '../output/steps.ts'
import { prune } from '../prune/prune.ts'
import { type PreparedRun, prepare } from '../prune/run.ts'
import { peakMemory } from '../report/machine.node.ts'
import type { Run } from '../report/result-file.ts'
import type { HealRecord, PruneResult } from '../result/result.ts'
import { calibration, calibrationSource, type TextFile } from '../text/calibration.ts'
import { sampleWindows } from '../text/sample.ts'
import { namedText } from '../text/text.node.ts'
import { loadTokenizer } from '../text/tokenizer.ts'
import type { Windows } from '../text/windows.ts'
import { writeExports } from '../write/export.node.ts'
import { type Cell, runOf } from './grid.ts'
import { type DenseTask, isDense, type Job } from './job.ts'
import { measureRun } from './measure.node.ts'
import {
  type DensePass,
  healedFolder,
  prunedFolder,
  readPass,
  readPruned,
  readShared,
  removePruned,
  type Shared,
  writePass,
  writePruned,
  writeShared,
} from './work.node.ts'

/** What both kinds of jobs have open. */
interface Open extends Context {
  readonly job: Job
  readonly dense: Model
}

/** @throws FaspError */
export async function* runJob(job: Job, signal: AbortSignal): Progress<Run> {
  await using engine = openEngine(job.engine)
  await using checkpoint = await openCheckpoint(job.model)
  const open = { ...memoryContext(engine, signal), job, dense: describeModel(checkpoint) }
  return yield* isDense(job.task) ? runDense(open, job.task) : runCell(open, job.task)
}

async function* runDense(open: Open, task: DenseTask): Progress<Run> {
  const { dense } = open
  const { work, prompts } = open.job
  checkPrompts(dense, prompts)
  const shared = yield* share(open, task)
  // Measured before, it only leaves its rows.
  const asked = task.measured
    ? { shared: { ...shared, tasks: [], pages: undefined }, prompts: [] }
    : { shared, prompts }
  const measures = yield* measureRun(open, dense, undefined, { work, ...asked })
  await writeShared(work, shared)
  return { name: 'dense', sparsity: 0, ...measures, peakMemoryBytes: peakMemory() }
}

/** @throws UsageError for a prompt without tokens, or that leaves no room for text */
function checkPrompts(model: Model, prompts: readonly string[]): void {
  const tokenizer = loadTokenizer(model.checkpoint)
  const { maxPositions } = model.architecture
  for (const prompt of prompts) {
    const { length } = samplePrompt(model, tokenizer, prompt).ids
    if (length === 0 || length >= maxPositions)
      throw new UsageError(`the prompt "${prompt}" has ${length} tokens; it must have from 1 to ${maxPositions - 1}.`)
  }
}

async function* share(open: Open, task: DenseTask): Progress<Shared> {
  const { dense, signal } = open
  const { key, seqLen, textWindows: firsts, limit, seed } = task
  const asTexts = (files: readonly TextFile[]) =>
    shortNames(files.map(({ name }) => name)).map((name, i) => namedText({ ...files[i], name }))
  const texts: TextWindows[] = []
  for (const [i, text] of asTexts(task.text).entries())
    texts.push(...(yield* textWindows(open, dense, { texts: [text], seqLen, windows: firsts?.[i] })))
  if (task.text.length + task.tasks.length === 0) texts.push(yield* ownText(open, seed))
  const { tasks, pages } = yield* readTasks(task.tasks, { data: task.tasksData, signal })
  const source = { texts: task.calibration && asTexts(task.calibration) }
  const options = { windows: task.windows, seqLen: task.calibrationSeqLen, heldOut: 0, seed }
  const { heal: tokens } = task
  const own = source.texts ? undefined : task.windows // writing takes as long as healing: they come again
  const asked = { tokens, seqLen: options.seqLen, windows: own }
  const sizes = tokens === undefined ? undefined : sizesOf(asked, source, [dense])
  // With the windows that are held out, which pruning leaves alone.
  const healing = sizes && (yield* calibration(open, dense, source, { ...sizes, seed }))
  return {
    key,
    texts,
    tasks: tasks.map(({ name, items }) => ({ name, items: items.slice(0, limit) })),
    pages: pages?.slice(0, limit),
    calibration: healing && !source.texts ? withoutHeldOut(healing) : yield* calibration(open, dense, source, options),
    healing,
    source: calibrationSource(source),
  }
}

const withoutHeldOut = ({ heldOut: _, texts, ...windows }: Windows): Windows => ({
  ...windows,
  texts: texts.map(({ heldOut: __, ...text }) => text),
})

/** Where nothing is given to measure on: what the dense model writes, from another seed than what is calibrated on. */
async function* ownText(open: Open, seed: number): Progress<TextWindows> {
  const { checkpoint, architecture } = open.dense
  const seqLen = Math.min(256, architecture.maxPositions)
  const name = 'text of the dense model'
  const made = yield* sampleWindows(open, open.dense, { windows: 32, heldOut: 0, seqLen, seed: seed + 1 })
  const tokenizer = loadTokenizer(checkpoint)
  const bytes = made.windows.map(ids => new TextEncoder().encode(tokenizer.decode([...ids])).length)
  return {
    ...{ name, bos: typeof checkpoint.config.bos_token_id === 'number' },
    tokensPerByte: (made.windows.length * (seqLen - 1)) / bytes.reduce((sum, n) => sum + n, 0),
    windows: [{ ...made, texts: [{ ...made.texts[0], name }] }],
  }
}

async function* runCell(open: Open, cell: Cell): Progress<Run> {
  const { job, dense } = open
  const { work, prompts } = job
  const shared = await readShared(work)
  if (!shared) throw new FormatError(work, 'has no windows. Was it changed while fasp ran?')
  const output = prunedFolder(work)
  try {
    const result = (await readPruned(work, cell)) ?? (yield* pruneCell(open, cell, shared))
    const started = performance.now()
    const healed = cell.asked.heal === undefined ? undefined : yield* healCell(open, cell, shared)
    const seconds = { ...result.seconds, ...(healed && { heal: (performance.now() - started) / 1000 }) }
    const peakMemoryBytes = peakMemory() // of pruning and healing, or of what this process did of them: measuring comes after
    await using last = await openCheckpoint(healed ? healedFolder(work) : output)
    const measures = yield* measureRun(open, describeModel(last), dense, { work, shared, prompts })
    return {
      ...runOf(cell),
      healed: healed?.tokens,
      prune: { ...result, seconds, healed },
      ...measures,
      seconds: { ...seconds, ...measures.seconds },
      peakMemoryBytes,
    }
  } finally {
    await rm(healedFolder(work), { recursive: true, force: true })
  }
}

/** What of `work` is pruned stays for the next cell, which may heal it otherwise. */
async function* pruneCell(open: Open, cell: Cell, { calibration: windows, source }: Shared): Progress<PruneResult> {
  const { job, dense, engine, signal } = open
  const { work } = job
  await removePruned(work)
  const run = { ...prepare(dense, cell.options, { windows }), source }
  const output = prunedFolder(work)
  const sink = await openFolderSink(output, true)
  const scratch = activationFiles(output)
  const pass = yield* densePass(open, run, windows, scratch)
  const made = { engine, sink, denseStatistics: pass?.statistics, openScratch: scratch, signal }
  const result = withPass(yield* prune(run, made), pass)
  await writePruned(work, cell, result)
  return result
}

/** Heals what is in the folder of the pruned model, into that of the healed one. */
async function* healCell(
  open: Open,
  { name, asked: { heal: tokens, lr }, options: { memory, seed, products } }: Cell,
  { healing: windows, source }: Shared,
): Progress<HealRecord> {
  const { job, dense, engine, signal } = open
  if (!windows) throw new FormatError(job.work, 'has no windows to heal on. Was it changed while fasp ran?')
  await using checkpoint = await openCheckpoint(prunedFolder(job.work))
  const output = healedFolder(job.work)
  const { seqLen, windows: all } = windows
  const sizes = sizesOf({ tokens, seqLen, windows: all.length }, {}, [dense])
  const settings = { ...sizes, memory, seed, lr, products }
  const on = { engine, output, saved: UNSAVED, signal }
  const pruned = describeModel({ ...checkpoint, name })
  return yield* healing(on, pruned, dense, { ...windows, source }, settings, async function* (healed, record) {
    const sink = await openFolderSink(output, true)
    return yield* committed(sink, async function* () {
      yield* writeExports(healed, [AS_IT_IS], sink, { open: openCheckpoint, engine, apart: false, signal })
      return record
    })
  })
}

/** Statistics of the dense model on the calibration windows, made by the first method that needs them; undefined for one that does not. */
async function* densePass(
  open: Open,
  { options: { allocate, memory } }: PreparedRun,
  windows: Windows,
  scratch: () => Promise<Scratch>,
): Progress<DensePass | undefined> {
  if (allocate !== 'standardized' && allocate !== 'influence') return undefined
  const { job, dense, engine } = open
  const there = await readPass(job.work)
  if (there) return there
  const started = performance.now()
  const pool = new ActivationPool(memory * 2 ** 30, scratch, engine.array)
  try {
    const statistics = yield* denseStatistics({ ...open, pool }, dense, windows)
    const pass = { statistics, seconds: (performance.now() - started) / 1000, engineSeconds: { ...engine.seconds } }
    await writePass(job.work, pass)
    return pass
  } finally {
    await pool.close()
  }
}

/** The time of the dense pass is part of the allocation, as it is where a run makes its own. */
function withPass(result: PruneResult, pass: DensePass | undefined): PruneResult {
  if (!pass) return result
  const outside = Math.max(0, pass.seconds - total(pass.engineSeconds))
  return {
    ...result,
    seconds: sums(result.seconds, { allocate: pass.seconds }),
    engineSeconds: sums(result.engineSeconds, pass.engineSeconds),
    outsideSeconds: sums(result.outsideSeconds, { allocation: outside }),
  }
}

type Seconds = Readonly<Record<string, number>>

const sums = (one: Seconds, other: Seconds): Seconds =>
  Object.fromEntries(Object.keys({ ...one, ...other }).map(name => [name, (one[name] ?? 0) + (other[name] ?? 0)]))
