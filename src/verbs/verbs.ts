// The verbs of the public API that read one model: node.ts binds them to paths, web.ts to what a page has.
// Here they are generators; each is a promise besides (`promised`).
import { UsageError } from '../base/errors.ts'
import { finish, type Listener, type Progress } from '../base/events.ts'
import { type Checkpoint, disposable } from '../checkpoint/checkpoint.ts'
import type { Engine } from '../engine/engine.ts'
import { type Inspection, inspect as inspectModel } from '../evaluate/inspect.ts'
import { type MeasureOptions, type Measures, measure } from '../evaluate/measure.ts'
import { memoryContext } from '../forward/context.ts'
import { type GenerateOptions, generate as generateTokens } from '../forward/generate.ts'
import { describeModel, type Model } from '../model/model.ts'
import { committed, subSink, writeFile } from '../output/sink.ts'
import type { PruneInput } from '../prune/prune.ts'
import type { PreparedRun } from '../prune/run.ts'
import { pruneWithinLoss } from '../prune/within-loss.ts'
import { modelCard } from '../result/card.ts'
import type { PerplexityResult } from '../result/measured.ts'
import type { PruneResult } from '../result/result.ts'
import type { NamedText } from '../text/calibration.ts'
import { encodePrompt, type Prompt } from '../text/chat.ts'
import { loadTokenizer } from '../text/tokenizer.ts'

/** A model that is open until `close`, or until `await using` is left. */
export interface OpenedModel extends Model, AsyncDisposable {
  close(): Promise<void>
}

/** A run that `prepare` decided. It holds the model open until `close`, or until `await using` is left. */
export interface PreparedPrune<Result> extends PreparedRun, AsyncDisposable {
  /** Runs it, as `prune` does. */
  prune(options?: Listener): Promise<Result>
  pruneEvents(): Progress<Result>
  close(): Promise<void>
}

/** A run on a model that was opened for it. @param decide gives it, and what runs it */
export const preparedPrune = <Result>(
  { close }: OpenedModel,
  decide: () => { readonly run: PreparedRun; readonly pruneEvents: () => Progress<Result> },
): Promise<PreparedPrune<Result>> =>
  orClosed(close, () => {
    const { run, pruneEvents } = decide()
    return {
      ...run,
      prune: ({ onEvent } = {}) => finish(pruneEvents(), onEvent),
      pruneEvents,
      close,
      [Symbol.asyncDispose]: close,
    }
  })

/** A run into a sink, with the model card last. */
export const pruneWithCard = (run: PreparedRun, input: PruneInput): Progress<PruneResult> =>
  committed(input.sink, async function* () {
    const result = yield* pruneWithinLoss(run, { ...input, sink: subSink(input.sink, '') })
    await writeFile(input.sink, modelCard(run.model, result))
    return result
  })

/** What `make` gives of something open, which is closed where it throws. */
async function orClosed<T>(close: () => Promise<void>, make: () => T): Promise<T> {
  try {
    return make()
  } catch (error) {
    await close()
    throw error
  }
}

/** What users name a model by, or one that is open. A name, as TypeScript writes the parts of a union in any order. */
export type Given<Source> = Source | Model

/** How a platform opens what users name. */
export interface Platform<Source, Text, Opening, Engines> {
  checkpoint(source: Source, options: Opening): Progress<Checkpoint>
  engine(options: Engines): ChosenEngine
  texts(texts: readonly Text[] | undefined, options: Opening): Progress<NamedText[]>
}

interface Stoppable {
  readonly signal?: AbortSignal
}

/** An engine, which is closed with this unless it was given open. */
export interface ChosenEngine extends AsyncDisposable {
  readonly engine: Engine
}

/** What is measured on texts. */
export type TextMeasures<Text> = Omit<MeasureOptions, 'texts'> & {
  /** For perplexity. @default none */
  readonly text?: readonly Text[]
}

export type PerplexityOptions = Pick<MeasureOptions, 'windows'> & {
  /** Tokens per window. @default 1024, or the context */
  readonly seqLen?: number
}

/** @throws UsageError where nothing is asked for */
export function checkMeasured({ text, tasks, pages }: { readonly [of in 'text' | 'tasks' | 'pages']?: unknown }): void {
  if (!text && !tasks && !pages) throw new UsageError('nothing to measure. Give text, tasks, or both.')
}

/** What `generate` wrote. */
export interface Generated {
  /** Of a chat what the template made of it. */
  readonly prompt: string
  /** What comes after the prompt. */
  readonly text: string
  readonly promptIds: readonly number[]
  readonly ids: readonly number[]
}

/** The verbs that read no weights. A model: by a name that the platform opens, or open, and then it stays so. */
export function bindOpening<Source, Opening>(checkpointOf: (source: Source, options: Opening) => Progress<Checkpoint>) {
  async function* openModel(source: Given<Source>, options: Opening = {} as Opening): Progress<OpenedModel> {
    if (isModel(source)) return { ...source, close: leave, [Symbol.asyncDispose]: leave }
    const checkpoint = disposable(yield* checkpointOf(source, options))
    const { close } = checkpoint
    return orClosed(close, () => ({ ...describeModel(checkpoint), close, [Symbol.asyncDispose]: close }))
  }

  async function* inspect(source: Given<Source>, options?: Opening): Progress<Inspection> {
    await using model = yield* openModel(source, options)
    return inspectModel(model)
  }

  return { openModel, inspect }
}

/** Those, and what computes. */
export function bindVerbs<Source, Text, Opening extends Stoppable, Engines extends Opening>(
  platform: Platform<Source, Text, Opening, Engines>,
) {
  const { openModel, inspect } = bindOpening(platform.checkpoint)

  /** Opens both, the engine first: what is wrong with that shows before a long download. */
  async function* withBoth<T>(
    source: Given<Source>,
    options: Engines,
    work: (model: Model, engine: Engine) => Progress<T>,
  ): Progress<T> {
    await using chosen = platform.engine(options)
    await using model = yield* openModel(source, options)
    return yield* work(model, chosen.engine)
  }

  async function* evaluate(source: Given<Source>, options: TextMeasures<Text> & Engines): Progress<Measures> {
    checkMeasured(options)
    return yield* withBoth(source, options, async function* (model, engine) {
      const texts = yield* platform.texts(options.text, options)
      return yield* measure(memoryContext(engine, options.signal), model, { ...options, texts })
    })
  }

  async function* perplexity(
    source: Given<Source>,
    text: Text,
    options = {} as PerplexityOptions & Engines,
  ): Progress<PerplexityResult> {
    const { perplexity: texts } = yield* evaluate(source, { ...options, text: [text] })
    return texts[0]
  }

  const generate = (
    source: Given<Source>,
    prompt: Prompt,
    options = {} as GenerateOptions & Engines,
  ): Progress<Generated> =>
    withBoth(source, options, async function* (model, engine) {
      const tokenizer = loadTokenizer(model.checkpoint)
      const { text: asked, ids: promptIds } = encodePrompt(model.checkpoint, tokenizer, prompt)
      const ids: number[] = []
      // Decoded together, since some tokenizers drop the space at the start of a text.
      const start = tokenizer.decode(promptIds).length
      let text = ''
      let told = 0
      for await (const id of generateTokens(memoryContext(engine, options.signal), model, promptIds, options)) {
        ids.push(id)
        text = tokenizer.decode([...promptIds, ...ids]).slice(start)
        if (text.endsWith('\ufffd')) continue // half of a character: wait for the rest
        yield { type: 'text', text: text.slice(told) } as const
        told = text.length
      }
      if (told < text.length) yield { type: 'text', text: text.slice(told) } as const
      return { prompt: asked, text, promptIds, ids }
    })

  return { openModel, inspect, evaluate, perplexity, generate }
}

/** Of a model at a path, or open. */
export const nameOf = (source: string | Model): string => (isModel(source) ? source.checkpoint.name : source)

/** Closes nothing. */
export const leave = async () => {}

const isModel = (source: unknown): source is Model =>
  typeof source === 'object' && source !== null && 'architecture' in source
