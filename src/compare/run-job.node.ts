// What a process of a comparison does: the dense model with all that is shared, or one pruned model, from windows to
// measures.
import { rm } from 'node:fs/promises'
import { difference, total } from '../base/clock.ts'
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
import { describeModel, type Model } from '../model/model.ts'
import { openFolderSink } from '../output/folder.node.ts'
import { activationFiles } from '../output/scratch.node.ts'
import { committed } from '../output/sink.ts'
import { type Doing, done, savedBy, UNSAVED } from '../output/steps.ts'
import { prune } from '../prune/prune.ts'
import { prepare } from '../prune/run.ts'
import { peakMemory } from '../report/machine.node.ts'
import type { Run } from '../report/result-file.ts'
import type { HealRecord, PruneResult } from '../result/result.ts'
import { calibration, calibrationSource, type TextFile } from '../text/calibration.ts'
import { sampleWindows } from '../text/sample.ts'
import { namedText } from '../text/text.node.ts'
import { loadTokenizer } from '../text/tokenizer.ts'
import type { Windows } from '../text/windows.ts'
import { writeExports } from '../write/export.node.ts'
import { type Cell, cellKey, runOf } from './grid.ts'
import { type DenseTask, isDense, type Job } from './job.ts'
import { measureRun } from './measure.node.ts'
import { type DensePass, leave, left, modelFolder, removePruned, type Shared } from './work.node.ts'

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
  const { dense, job } = open
  const { work, protocol } = job
  checkPrompts(dense, protocol.prompts)
  const shared = yield* share(open, task)
  // Measured before, it only leaves its rows.
  const asked = task.measured
    ? { shared: { ...shared, tasks: [], pages: undefined }, prompts: [] }
    : { shared, prompts: protocol.prompts }
  const measures = yield* measureRun(open, dense, undefined, { work, ...asked })
  await leave(work, 'shared', shared)
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

async function* share(open: Open, { key, files, heal: tokens, tasksData }: DenseTask): Progress<Shared> {
  const { dense, signal, job } = open
  const { seqLen, maxWindows, limit, samples, calibrationSeqLen, seed, tasks: asked } = job.protocol
  const asTexts = (files: readonly TextFile[]) =>
    shortNames(files.map(({ name }) => name)).map((name, i) => namedText({ ...files[i], name }))
  const texts: TextWindows[] = []
  for (const [i, text] of asTexts(files.text).entries())
    texts.push(...(yield* textWindows(open, dense, { texts: [text], seqLen, windows: maxWindows?.[i] })))
  if (files.text.length + asked.length === 0) texts.push(yield* ownText(open, seed))
  const names = asked.map(({ file }) => file)
  const { tasks, pages } = yield* readTasks(names, { data: tasksData, signal })
  const source = { texts: files.calibration && asTexts(files.calibration) }
  const own = source.texts ? undefined : samples // writing takes as long as healing: what is written comes again
  const sizes = tokens && sizesOf({ tokens, seqLen: calibrationSeqLen, windows: own }, source, [dense])
  // With the windows that are held out, which pruning leaves alone.
  const healing = sizes ? yield* calibration(open, dense, source, { ...sizes, seed }) : undefined
  const options = { windows: samples, seqLen: calibrationSeqLen, heldOut: 0, seed }
  return {
    key,
    texts,
    tasks: tasks.map(({ name, items }) => ({ name, items: items.slice(0, limit) })),
    pages: pages?.slice(0, limit),
    calibration: healing && own ? withoutHeldOut(healing) : yield* calibration(open, dense, source, options),
    healing,
    source: calibrationSource(source),
  }
}

const withoutHeldOut = ({ heldOut: _, texts, ...windows }: Windows): Windows => ({
  ...windows,
  texts: texts.map(({ heldOut: __, ...text }) => text),
})

/** Where nothing is given to measure on: what the dense model writes, by another seed than what is calibrated on. */
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
  const { work, protocol } = job
  const shared = await left(work, 'shared')
  if (!shared) throw new FormatError(work, 'has no windows. Was it changed while fasp ran?')
  try {
    const there = await left(work, 'pruned')
    const result = there?.cell === cellKey(cell) ? there.result : yield* pruneCell(open, cell, shared)
    const started = performance.now()
    const healed = cell.asked.heal === undefined ? undefined : yield* healCell(open, cell, shared)
    const seconds = { ...result.seconds, ...(healed && { heal: (performance.now() - started) / 1000 }) }
    const peakMemoryBytes = peakMemory() // of what this process did of pruning and healing: measuring comes after
    await using last = await openCheckpoint(modelFolder(work, healed ? 'healed' : 'pruned'))
    const measures = yield* measureRun(open, describeModel(last), dense, { work, shared, prompts: protocol.prompts })
    return {
      ...runOf(cell),
      healed: healed?.tokens,
      prune: { ...result, seconds, healed },
      ...measures,
      seconds: { ...seconds, ...measures.seconds },
      peakMemoryBytes,
    }
  } finally {
    await rm(modelFolder(work, 'healed'), { recursive: true, force: true })
  }
}

/** What is pruned stays for the next cell, which may heal it otherwise. */
async function* pruneCell(open: Open, cell: Cell, { calibration: windows, source }: Shared): Progress<PruneResult> {
  const { job, dense, engine, signal } = open
  const { work } = job
  await removePruned(work)
  const run = { ...prepare(dense, cell.options, { windows }), source }
  const output = modelFolder(work, 'pruned')
  const sink = await openFolderSink(output, true)
  const { saved, counted } = sharing(open)
  const result = counted(yield* prune(run, { engine, sink, saved, openScratch: activationFiles(output), signal }))
  await leave(work, 'pruned', { cell: cellKey(cell), result })
  return result
}

/** Heals the pruned model into a folder of its own. */
async function* healCell(
  { job: { work }, dense, engine, signal }: Open,
  { name, asked: { heal: tokens, lr }, options: { memory, seed, products } }: Cell,
  { healing: windows, source }: Shared,
): Progress<HealRecord> {
  if (!windows) throw new FormatError(work, 'has no windows to heal on. Was it changed while fasp ran?')
  await using checkpoint = await openCheckpoint(modelFolder(work, 'pruned'))
  const output = modelFolder(work, 'healed')
  const settings = { ...sizesOf({ tokens }, { windows }, [dense]), memory, seed, lr, products }
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

/**
 * Steps of a run, of which the first method that needs statistics of the dense model leaves these to the others.
 * `counted`: a result with the time that they took, as where a run makes its own.
 */
function sharing({ engine, job: { work } }: Open) {
  let used: DensePass | undefined
  const saved = savedBy(UNSAVED, async function* <T>(name: string, doing: Doing<T>): Progress<T> {
    if (name !== 'dense statistics') return yield* done(doing, name)
    used = await left(work, 'dense-pass')
    if (used) return used.statistics as T
    const [started, before] = [performance.now(), { ...engine.seconds }]
    const value = yield* done(doing, name)
    const [seconds, engineSeconds] = [(performance.now() - started) / 1000, difference(engine.seconds, before)]
    await leave(work, 'dense-pass', { statistics: value as DensePass['statistics'], seconds, engineSeconds })
    return value
  })
  const counted = (result: PruneResult): PruneResult => {
    if (!used) return result
    const outside = Math.max(0, used.seconds - total(used.engineSeconds))
    return {
      ...result,
      seconds: sums(result.seconds, { allocate: used.seconds }),
      engineSeconds: sums(result.engineSeconds, used.engineSeconds),
      outsideSeconds: sums(result.outsideSeconds, { allocation: outside }),
    }
  }
  return { saved, counted }
}

type Seconds = Readonly<Record<string, number>>

const sums = (one: Seconds, other: Seconds): Seconds =>
  Object.fromEntries(Object.keys({ ...one, ...other }).map(name => [name, (one[name] ?? 0) + (other[name] ?? 0)]))
