// Methods under one protocol: the dense model, then each method at each sparsity, pruned and measured in a process of its
// own (run-job.node.ts). The result file is written after each run, so that a comparison that was stopped goes on where it
// was; what runs share is in a folder beside it (work.node.ts).
import { readFile } from 'node:fs/promises'
import { total } from '../base/clock.ts'
import { baseName } from '../base/display.ts'
import { OutputError, RunError, UsageError } from '../base/errors.ts'
import { notice, type Progress } from '../base/events.ts'
import { VERSION } from '../base/version.ts'
import { fetchModel } from '../hub/fetch.node.ts'
import { openCheckpoint } from '../hub/open.node.ts'
import { describeModel } from '../model/model.ts'
import { HEAL_DEFAULTS } from '../options/defaults.ts'
import { checkRange } from '../options/options.ts'
import { claimFile } from '../output/place.node.ts'
import { checkTextFile, writeTextFile } from '../output/text-file.node.ts'
import { describeMachine } from '../report/machine.node.ts'
import { parseResult } from '../report/parse-result.ts'
import {
  madeNow,
  madeOf,
  modelFacts,
  type Protocol,
  type ResultFile,
  type Run,
  resultFile,
  serializeResult,
} from '../report/result-file.ts'
import { corpusNotice } from '../result/notices.ts'
import { sameCorpus } from '../text/corpus.ts'
import { type Cell, checkCells, checkMethods, grid, keyOf, runOf, titled } from './grid.ts'
import { type DenseTask, isDense, type Job } from './job.ts'
import type { CompareOptions } from './options.ts'
import { runInProcess } from './process.node.ts'
import { type Contents, differences, protocolKey, protocolOf, readContents } from './protocol.node.ts'
import { openWork, removeWork, tellOtherWork, workFolder } from './work.node.ts'

/**
 * Compares methods on the model at `path`. Yields progress, returns the result; a run that fails says so there and leaves
 * the others alone.
 * @throws FaspError before any run for options that make no sense and files that cannot be read
 * @throws RunError where the dense model fails
 */
export async function* compare(path: string, given: CompareOptions): Progress<ResultFile> {
  const options = { ...given, calibrationSeqLen: given.calibrationSeqLen ?? given.seqLen }
  const { output, text = [], textWindows, tasksData, calibration, engine, products, heal = false, lr, signal } = options
  const { windows, calibrationSeqLen, seed, memory } = options
  const heals = heal === true ? [HEAL_DEFAULTS.tokens] : heal === false ? [] : [heal].flat()
  if (lr !== undefined && heals.length === 0) throw new UsageError('lr is of healing. Add --heal, or leave --lr out.')
  const pruning = { windows, seqLen: calibrationSeqLen, seed, memory, products }
  const cells = grid(options.methods, options.sparsity, pruning, heals, lr)
  if (typeof textWindows === 'object' && textWindows.length !== text.length)
    throw new UsageError(
      `there are ${textWindows.length} text-windows for ${text.length} texts. Give one for all, or one for each.`,
    )
  checkMethods(cells)
  const machine = describeMachine(engine, products) // before a long download, as all that may be refused
  await checkTextFile(output, true)
  await using _claimed = await claimFile(output)
  const read = yield* readContents(options)
  const model = yield* fetchModel(path, { signal })
  const { facts, protocol } = await check(model, path, cells, read, options)
  const earlier = await earlierRuns(output, protocol, options.overwrite)
  const done = earlier.filter(run => run.failed === undefined)
  const runs = new Map(done.map(run => [keyOf(run), run]))
  const order = [...earlier, ...cells].map(keyOf)
  const result = (): ResultFile => {
    const place = (run: Run) => order.indexOf(keyOf(run))
    const sorted = [...runs.values()].sort((a, b) => a.sparsity - b.sparsity || place(a) - place(b))
    return resultFile({ command: 'compare', machine, model: facts, protocol, runs: sorted })
  }
  const missing = cells.filter(cell => !runs.has(keyOf(cell)))
  const work = workFolder(output)
  await tellOtherWork(work)
  if (missing.length === 0) {
    await removeWork(work) // of a run that was killed at its very end
    return result()
  }
  for (const name of text) {
    const same = calibration?.find(other => sameCorpus(other, name))
    if (same) yield notice(corpusNotice(name, baseName(same)))
  }
  const before = Math.max(0, ...done.map(({ healed = 0 }) => healed))
  const most = heals.length > 0 ? Math.max(before, ...heals) : undefined // windows to heal on are cut for it
  if (calibration && before > 0 && most && most > before) yield notice(otherWindows(before, most))
  const key = `${protocolKey(protocol)}${most ? ` healed on ${most}` : ''}`
  const measured = runs.has(keyOf({ name: 'dense' }))
  const dense: DenseTask = { name: 'dense', key, files: read.files, heal: most, tasksData, measured }
  try {
    const shared = await openWork(work, key)
    const tasks = shared && measured ? missing : [dense, ...missing]
    if (done.length > 0) yield notice(`${output} has ${done.length} runs already; ${missing.length} are left.`)
    for (const [i, task] of tasks.entries()) {
      const { name, sparsity } = isDense(task) ? { name: task.name, sparsity: 0 } : titled(task)
      const left = secondsLeft(tasks.slice(i), [...runs.values()])
      yield { type: 'run', name, sparsity, number: i + 1, total: tasks.length, secondsLeft: left }
      const run = yield* attemptRun({ model, work, task, protocol, engine }, signal)
      if (!(isDense(task) && measured)) runs.set(keyOf(task), { ...run, made: madeNow(machine) })
      await writeTextFile(output, serializeResult(result()), true)
    }
    return result()
  } finally {
    if (!signal?.aborted) await removeWork(work)
  }
}

/** Windows that are spread over texts are others where there were to be fewer. */
const otherWindows = (before: number, most: number): string =>
  `What is there was healed on ${before.toLocaleString('en')} tokens at most. For ${most.toLocaleString('en')} other ` +
  'windows are held out, so that the KL of either over its steps is its own. --overwrite makes all anew.'

/** @returns also of a run that failed @throws RunError, UsageError where it is the dense one, which all others need */
async function* attemptRun(job: Job, signal?: AbortSignal): Progress<Run> {
  const { task } = job
  try {
    const events = runInProcess(job, signal)
    const told: string[] = []
    for (;;) {
      const { done, value } = await events.next()
      if (done) return { ...value, notices: told.filter(one => !value.prune?.notices.includes(one)) }
      if (value.type === 'notice')
        told.push(value.message) // for the result alone
      else yield value
    }
  } catch (error) {
    if (isDense(task) || !(error instanceof RunError || error instanceof UsageError)) throw error
    const { name, sparsity } = titled(task)
    yield notice(`${name} at sparsity ${sparsity} failed: ${error.message}`)
    return { ...runOf(task), perplexity: [], tasks: [], samples: [], seconds: {}, failed: error.message }
  }
}

/** What only the model can tell, before a weight is read. @throws FaspError */
async function check(local: string, path: string, cells: readonly Cell[], read: Contents, options: CompareOptions) {
  await using checkpoint = await openCheckpoint(local)
  const model = describeModel({ ...checkpoint, name: path })
  const { architecture } = model
  const { seqLen, calibrationSeqLen } = options
  for (const [name, length] of Object.entries({ 'seq-len': seqLen, 'calibration-seq-len': calibrationSeqLen }))
    if (length !== undefined) checkRange(name, length, 2, architecture.maxPositions, true)
  checkCells(model, cells, { texts: options.calibration && [] })
  return { facts: modelFacts(path, architecture), protocol: await protocolOf(local, model, read, options) }
}

/** What the file has. @throws OutputError where that is of another protocol; FormatError where it is damaged */
async function earlierRuns(output: string, protocol: Protocol, overwrite = false): Promise<readonly Run[]> {
  const text = overwrite ? undefined : await readFile(output, 'utf8').catch(() => undefined)
  if (text === undefined) return []
  const result = parseResult(text, output)
  const { fasp, protocol: found, runs } = result
  const differ = fasp === VERSION ? found && differences(found, protocol).join(', ') : `version ${fasp} of fasp`
  const other = found ? differ : 'no comparison'
  if (other)
    throw new OutputError(
      `${output} holds results that cannot go beside these (${other}). ` +
        'Choose another -o, or replace it with --overwrite.',
    )
  return runs.map(run => ({ ...run, made: madeOf(run, result) }))
}

/** By the seconds that runs of the same method took, or all runs; undefined before there are any. */
function secondsLeft(tasks: readonly (DenseTask | Cell)[], runs: readonly Run[]): number | undefined {
  const pruned = runs.filter(run => run.prune)
  if (pruned.length === 0) return undefined
  const expected = tasks.map(task => {
    const heal = isDense(task) ? undefined : task.asked.heal
    const same = pruned.filter(run => run.name === task.name && run.asked?.heal === heal)
    const like = same.length > 0 ? same : pruned
    return like.reduce((sum, { seconds }) => sum + total(seconds), 0) / like.length
  })
  return expected.reduce((sum, seconds) => sum + seconds, 0)
}
