// What the page asks of `fasp ui` beside its jobs: models at paths, plans, and what came out, measured and written on.
import { existsSync } from 'node:fs'
import { homedir, totalmem } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { isGgufFile } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import { finish, type ProgressEvent } from '../base/events.ts'
import { describeValue, isJsonObject, type JsonObject } from '../base/json.ts'
import {
  describeMachine,
  evaluate,
  generate,
  inspect,
  isTaken,
  type Model,
  openEngine,
  openModel,
  openWithVocabulary,
  planPrune,
  push,
} from '../node.ts'
import { checkRange } from '../options/options.ts'
import { MEASURED_WINDOWS, passOn, planFacts, pushedFacts, written } from './facts.ts'
import { type JobOptions, type Jobs, optionsOf, settingsFrom } from './jobs.node.ts'
import type { Answer, CallName, Order, Settings, Side, Told } from './protocol.ts'
import { reportOf } from './report.ts'

export interface CallContext {
  readonly tell: (told: Told) => void
  /** Aborted where the page no longer waits. */
  readonly signal: AbortSignal
}

/** @param ask as it came: nothing of it is known yet */
export type LocalCall<N extends CallName> = (ask: unknown, context: CallContext) => Promise<Answer<N>>

export interface LocalOptions extends Pick<JobOptions, 'engine'> {
  /** Folder of the model that ships. */
  readonly tiny: string
}

type Verbs = { readonly [N in 'open' | 'plan' | 'measure' | 'write' | 'report' | 'push']: LocalCall<N> } & {
  orderFrom(ask: unknown): Promise<Order>
}

/** @param jobs whose last result is measured and written on */
export function localVerbs(jobs: Jobs, { tiny, engine }: LocalOptions): Verbs {
  /** Of the plans of one model, one after the other. */
  let open: { readonly path: string; readonly model: Model } | undefined
  async function modelAt(path: string, again = false): Promise<Model> {
    if (open?.path === path && !again) return open.model
    const model = await openModel(path)
    await open?.model.checkpoint.close()
    open = { path, model }
    return model
  }
  const order = async (settings: Settings): Promise<Order> => {
    const model = pathFrom(settings.model, 'model')
    const output = settings.output?.trim()
      ? pathFrom(settings.output, 'output')
      : await freeOutput(model, model === tiny)
    return { model, output, settings: { ...settings, model, output, texts: settings.texts?.map(textFrom) } }
  }
  /** The model as it was, and what was made of it. */
  const both = () => {
    const { made } = jobs
    if (!made) throw new UsageError('nothing is pruned yet. Prune a model first.')
    return { ...made, dense: made.model, pruned: made.output }
  }
  return {
    orderFrom: ask => order(settingsFrom(ask)),
    async open(ask) {
      const path = ask === 'tiny' ? tiny : pathFrom(fields(ask).path, 'path')
      return inspect(await modelAt(path, true))
    },
    async plan(ask, { signal }) {
      const { model, output, settings } = await order(settingsFrom(ask))
      const notices: string[] = []
      const onEvent = (event: ProgressEvent) => event.type === 'notice' && notices.push(event.message)
      const plan = await planPrune(await modelAt(model), { ...optionsOf(settings), output, signal, onEvent })
      const { memoryBytes, vocabulary } = plan
      return planFacts(plan, plan.options, { memoryBytes, notices, output, vocabulary: vocabulary?.tokens })
    },
    async measure(ask, { tell, signal }) {
      const { text, seqLen } = fields(ask)
      const words = textOf(text, 'text')
      const { pruned } = both()
      await using dense = await finish(denseOf(both(), signal))
      const found = await evaluate(pruned, {
        ...{ text: [{ name: 'your text', text: async () => words }], seqLen: seqLen as number },
        ...{ windows: MEASURED_WINDOWS, dense, engine, signal, onEvent: passOn(tell) },
      })
      return { pruned: found.perplexity[0], dense: found.dense![0], divergence: found.divergence![0] }
    },
    async write(ask, { tell, signal }) {
      const { prompt, tokens } = fields(ask)
      const begins = textOf(prompt, 'prompt')
      checkRange('tokens', tokens as number, 1, MOST_TOKENS, true)
      const models = both()
      const by = (side: Side) =>
        written(side, tell, onEvent =>
          generate(models[side], begins, { maxTokens: tokens as number, engine, signal, onEvent }),
        )
      return { dense: await by('dense'), pruned: await by('pruned') }
    },
    async report(_, { tell, signal }) {
      const { pruned, result, told } = both()
      await using dense = await finish(denseOf(both(), signal))
      await using smaller = await openModel(pruned)
      await using opened = openEngine(engine)
      const on = { machine: describeMachine(engine), mostBytes: totalmem() / 2, tell }
      return await reportOf({ dense, pruned: smaller, result, told }, { engine: opened, signal }, on)
    },
    async push(ask, { tell, signal }) {
      const { id, private: isPrivate, overwrite, token = '' } = fields(ask)
      const may = { private: isPrivate === true, overwrite: overwrite === true }
      const options = { ...may, token: textOf(token, 'the token'), signal, onEvent: passOn(tell) }
      return pushedFacts(await push(both().pruned, textOf(id, 'the name').trim(), options))
    },
  }
}

/** The model as it was, with the vocabulary that was asked for: what was pruned. */
const denseOf = ({ model, settings }: Order, signal: AbortSignal) =>
  openWithVocabulary(model, optionsOf(settings).vocabulary, [], signal)

/** That a page may have written at once. */
const MOST_TOKENS = 1000

function fields(ask: unknown): JsonObject {
  if (isJsonObject(ask)) return ask
  throw new UsageError(`this call takes an object, not ${describeValue(ask)}.`)
}

export function textOf(value: unknown, name: string): string {
  if (typeof value === 'string') return value
  throw new UsageError(`${name} is ${describeValue(value)}; it must be a text.`)
}

/** A path as people type and paste it: from their home, with the quotes of a file manager. No shell reads it. */
const typed = (text: string): string =>
  text
    .trim()
    .replace(/^(["'])(.*)\1$/, '$2')
    .replace(/^~(?=[/\\]|$)/, homedir())

/** From the root, so that a server that is started elsewhere goes on with it. */
function pathFrom(value: unknown, name: string): string {
  const path = typed(textOf(value, name))
  if (path !== '') return resolve(path)
  throw new UsageError('no path. Give that of a Hugging Face model folder or a .gguf file on this machine.')
}

/** What is no file is the name of a data set, or is said to be missing. */
const textFrom = (text: unknown): string => {
  const name = typed(textOf(text, 'a text'))
  return existsSync(name) ? resolve(name) : name
}

/** A name beside the model, as in examples of the command line; for the model that ships, in the current folder. */
async function freeOutput(model: string, ships: boolean): Promise<string> {
  const ending = isGgufFile(model) ? '.gguf' : ''
  const start = join(ships ? process.cwd() : dirname(model), `${basename(model).replace(/\.gguf$/i, '')}-pruned`)
  for (let n = 1; ; n++) {
    const path = `${start}${n > 1 ? `-${n}` : ''}${ending}`
    if (!(await isTaken(path))) return path
  }
}
