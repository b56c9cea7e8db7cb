// Jobs of `fasp ui`: one at a time, which goes on whoever looks. Until it has ended well, a file in a folder of the
// user's says what it is: a later server goes on from the state that `prune` has left beside the output.
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir, totalmem } from 'node:os'
import { basename, join } from 'node:path'
import { FormatError, UsageError } from '../base/errors.ts'
import { attempt } from '../base/file-errors.node.ts'
import { isJsonObject, parseJsonObject } from '../base/json.ts'
import { newOwner, unfinishedIn } from '../base/unfinished.node.ts'
import {
  describeMachine,
  type EngineOptions,
  engineText,
  hasStates,
  type Inspection,
  inspect,
  isWritten,
  openEngine,
  openModel,
  openScratch,
  type PlanOptions,
  type PruneResult,
  pendingWeights,
  prepare,
  removeStates,
} from '../node.ts'
import { checkGiven } from '../options/call-check.ts'
import { callOnly, type Option } from '../options/option.ts'
import type { PageOption } from '../options/spec.ts'
import { takenBy } from '../options/verbs.ts'
import { failed, passOn } from './facts.ts'
import type { LocalState, Order, Said, Settings, StoppedOrder, Told } from './protocol.ts'
import { watchRun } from './run-view.ts'

export interface JobOptions {
  /** Where files of jobs are. */
  readonly folder: string
  readonly engine: EngineOptions
  /** Seconds. @default as `prune` */
  readonly saveEvery?: number
}

type Listener = (said: Said) => void

interface Job {
  readonly inspection: Inspection
  readonly order: Order
  readonly file: string
  /** What who comes later is told. */
  readonly told: Told[]
  readonly listeners: Set<Listener>
  readonly stop: AbortController
  end?: Said
  /** What it made, with the notices that it gave. */
  made?: Made
}

export interface Made extends Order {
  readonly result: PruneResult
  readonly told: readonly string[]
}

/** While a model is pruned, what writes a line is in memory beside it. */
const MOST_TO_WRITE = totalmem() / 4
const ENDING = '.json'

/** Settings that are no options of `prune`. */
const OTHERS: Record<Exclude<keyof Settings, PageOption>, Option> = {
  texts: callOnly('strings'),
  vocabulary: callOnly('number'),
  compute: callOnly('string'),
  model: callOnly('string'),
  output: callOnly('string'),
}
const PAGE_OPTIONS = Object.entries(takenBy('prune', 'node')).filter(([, { page }]) => page)
const SETTINGS = { ...Object.fromEntries(PAGE_OPTIONS), ...OTHERS }

/** Names, types and ranges. @throws UsageError */
export function settingsFrom(given: unknown): Settings {
  checkGiven(given, { called: 'fasp ui', options: SETTINGS })
  return given as Settings
}

export const optionsOf = (settings: Settings): PlanOptions => {
  const { sparsity, size, method, texts, windows, seqLen, seed, vocabulary: tokens } = settings
  const calibration = texts as string[] | undefined
  const vocabulary = tokens === undefined ? undefined : { keep: calibration ?? [], size: tokens }
  return { sparsity, size, method, calibration, windows, seqLen, seed, vocabulary }
}

export class Jobs {
  readonly #options: JobOptions
  #job?: Job
  #ended = Promise.resolve()
  #starting = false
  #closing = false

  constructor(options: JobOptions) {
    this.#options = options
  }

  get running(): boolean {
    return this.#starting || (this.#job !== undefined && this.#job.end === undefined)
  }

  /** What the last job made, where it has ended well. */
  get made(): Made | undefined {
    return this.#job?.end?.type === 'done' ? this.#job.made : undefined
  }

  async state(): Promise<LocalState> {
    const { inspection, order } = this.#job ?? {}
    return { job: inspection && order && { inspection, order }, stopped: await this.#stopped() }
  }

  /** Begins a job, or goes on with one. @throws FaspError where it cannot begin */
  async begin(order: Order, stopped?: string): Promise<void> {
    if (this.running) throw new UsageError('a job is at work. Wait until it has ended, or cancel it.')
    this.#starting = true
    try {
      await using model = await openModel(order.model)
      const file = await this.#note(order, stopped)
      const told: Told[] = []
      const job = { inspection: await inspect(model), order, file, told, listeners: new Set<Listener>() }
      this.#job = { ...job, stop: new AbortController() }
      this.#ended = this.#run(this.#job, stopped !== undefined)
    } finally {
      this.#starting = false
    }
  }

  /** @throws UsageError where there is none of that id */
  async resume(id: string): Promise<void> {
    const { settings, model, output } = await this.#find(id)
    await this.begin({ settings, model, output }, join(this.#options.folder, id))
  }

  async discard(id: string): Promise<void> {
    const { output } = await this.#find(id)
    await removeStates(output)
    await rm(join(this.#options.folder, id), { force: true })
  }

  stop(): void {
    this.#job?.stop.abort()
  }

  /** Tells all that the job tells, and how it ends. @returns what stops it @throws UsageError where there is no job */
  follow(listener: Listener): () => void {
    const job = this.#job
    if (!job) throw new UsageError('no job is at work.')
    for (const told of job.told) listener({ type: 'told', told })
    if (job.end) this.#tellEnd(job, [listener])
    else job.listeners.add(listener)
    return () => job.listeners.delete(listener)
  }

  /** Stops the job; the next server goes on with it. */
  async close(): Promise<void> {
    this.#closing = true
    this.stop()
    await this.#ended
  }

  async #run(job: Job, resume: boolean): Promise<void> {
    const { order, file, stop } = job
    const { engine, saveEvery } = this.#options
    const { signal } = stop
    const tell = (told: Told) => {
      keep(job.told, told)
      for (const listener of job.listeners) listener({ type: 'told', told })
    }
    let end: Said
    try {
      const { model, output, settings } = order
      tell({ type: 'job', model, output })
      tell({ type: 'engine', name: engineText(describeMachine(engine)) })
      const written = { output, resume, saveEvery, engine, signal }
      await using run = await prepare(model, { ...optionsOf(settings), ...written, onEvent: passOn(tell) })
      await using opened = openEngine(engine)
      const writing = {
        pending: () => pendingWeights(output),
        on: () => ({ engine: opened, signal }),
        mostBytes: MOST_TO_WRITE,
      }
      const watched = watchRun(run.model, settings.texts === undefined, writing, tell)
      const result = await run.prune({ onEvent: watched.onEvent })
      await rm(file, { force: true })
      job.made = { ...order, result, told: watched.notices }
      await using pruned = await openModel(output)
      const openRows = () => openScratch(join(tmpdir(), 'fasp'))
      end = {
        type: 'done',
        answer: { ...(await watched.facts(result, pruned, { engine: opened, openRows, signal })), output },
      }
    } catch (error) {
      end = failed(error, signal)
      if (!this.#closing && !(await hasStates(order.output))) await rm(file, { force: true })
    }
    job.end = end
    this.#tellEnd(job, [...job.listeners])
  }

  /** A failure that somebody has heard of is over. */
  #tellEnd(job: Job, listeners: readonly Listener[]): void {
    for (const listener of listeners) listener(job.end!)
    if (job.end!.type === 'failed' && listeners.length > 0 && this.#job === job) this.#job = undefined
  }

  /** Jobs of servers that have gone, and of this one that were stopped. */
  async #stopped(): Promise<StoppedOrder[]> {
    const { folder } = this.#options
    const current = this.running ? this.#job?.file : undefined
    const found = unfinishedIn(folder, ENDING).filter(
      ({ path, owner, pid }) => path !== current && (owner !== 'here' || pid === process.pid),
    )
    const orders = found.map(async ({ path }): Promise<StoppedOrder[]> => {
      const order = await readOrder(path).catch(() => undefined) // broken, or another server has it by now
      if (!order) return []
      const over = isWritten(order.output) // it had ended, or was gone on with on the command line
      if (over) await rm(path, { force: true })
      return over ? [] : [{ ...order, id: basename(path) }]
    })
    return (await Promise.all(orders)).flat()
  }

  async #find(id: string): Promise<StoppedOrder> {
    const found = (await this.#stopped()).find(one => one.id === id)
    if (!found) throw new UsageError('this job is no longer there. Load the page again.')
    return found
  }

  /** Writes the file of a job, or takes over that of one that was stopped. */
  #note(order: Order, stopped?: string): Promise<string> {
    const { folder } = this.#options
    const path = join(folder, `job.${newOwner()}${ENDING}`)
    return attempt(`note the job in ${folder}`, async () => {
      await mkdir(folder, { recursive: true, mode: 0o700 })
      const from = stopped ?? `${path}.new`
      if (stopped === undefined) await writeFile(from, JSON.stringify(order), { mode: 0o600 })
      await rename(from, path)
      return path
    })
  }
}

async function readOrder(path: string): Promise<Order> {
  const { model, output, settings } = parseJsonObject(await readFile(path), path)
  if (typeof model !== 'string' || typeof output !== 'string' || !isJsonObject(settings))
    throw new FormatError(path, 'says of no job what it is')
  return { model, output, settings: settingsFrom(settings) }
}

/** Of progress in a phase, and of errors of layers, only the last matters to who comes later. */
function keep(told: Told[], next: Told): void {
  const { type } = next
  const before = told.findLastIndex(one => one.type === type || one.type === (type === 'progress' ? 'phase' : type))
  if ((type === 'progress' || type === 'errors' || type === 'so far') && told[before]?.type === type)
    told.splice(before, 1)
  told.push(next)
}
