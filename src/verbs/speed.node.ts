// Speed of models: a prompt, then token by token, in our decoder and, for GGUF files, in llama.cpp. Models take turns,
// so that what else the machine does hits all alike, and are opened for each.
import { totalmem } from 'node:os'
import { bytes, shortNames } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import { finish, type ProgressEvent } from '../base/events.ts'
import { openEngine } from '../engine/engine.node.ts'
import type { EngineOptions } from '../engine/engine.ts'
import { Decoder, decoderBytes } from '../forward/decoder.ts'
import { pickToken } from '../forward/sampler.ts'
import { fetchModel } from '../hub/fetch.node.ts'
import { describeMachine } from '../report/machine.node.ts'
import { madeNow } from '../report/result-file.ts'
import type { SpeedResult } from '../report/speeds.ts'
import { LLAMA_CPP, type SpeedAnswer, type SpeedRequest, timeInLlamaCpp } from '../write/verify/llama-cpp.node.ts'
import { findPackage } from '../write/verify/runtime.node.ts'
import { nodeVerbs } from './platform.node.ts'

export interface SpeedOptions {
  /** Turns of each model in each runtime. @default 3 */
  readonly runs?: number
  readonly engine?: EngineOptions
  readonly signal?: AbortSignal
}

/** Tokens of the prompt, where all models take as many, and after it. */
const PROMPT = 512
const AFTER = 64

/**
 * Times models in turns: a prompt, then token by token, in our decoder and, for GGUF files, in llama.cpp if installed.
 * @param models paths, or names on the Hub
 * @example
 * for await (const event of speed(['my-model', 'smaller'])) console.error(event)
 * @throws FaspError
 */
export async function* speed(
  models: readonly string[],
  { runs = 3, engine, signal }: SpeedOptions = {},
): AsyncGenerator<ProgressEvent, SpeedResult> {
  const made = madeNow(describeMachine(engine))
  const found: Found[] = []
  const names = shortNames(models)
  for (const [i, model] of models.entries()) found.push(await look(yield* fetchModel(model, { signal }), names[i]))
  const vocabulary = Math.min(...found.map(model => model.vocabulary))
  const prompt = Math.min(PROMPT, ...found.map(model => model.positions - AFTER))
  const ids = Array.from({ length: prompt }, (_, i) => (i * 7919 + 13) % vocabulary)
  const request = { ids, after: AFTER, threads: engine?.threads }
  const library = findPackage(LLAMA_CPP.package)
  const files = library === undefined ? [] : found.filter(model => model.gguf)
  if (files.length < found.length)
    yield {
      type: 'notice',
      message:
        'Timed in llama.cpp, too, are GGUF files ("fasp export" makes them) after ' +
        `npm install ${LLAMA_CPP.package}.`,
    }
  const contestants = [
    ...found.map(model => ({
      ...{ runtime: 'fasp', model: model.name },
      turn: () => inOurs(model, request, engine, signal),
    })),
    ...files.map(model => ({
      ...{ runtime: LLAMA_CPP.name, model: model.name },
      turn: () => timeInLlamaCpp(library!, model, request, signal),
    })),
  ]
  const answers = contestants.map((): SpeedAnswer[] => [])
  yield { type: 'phase', phase: 'speed', total: runs * contestants.length, unit: 'turns' }
  for (let done = 0; done < runs * contestants.length; done++) {
    signal?.throwIfAborted()
    const next = done % contestants.length
    answers[next].push(await contestants[next].turn())
    yield { type: 'progress', done: done + 1 }
  }
  const speeds = contestants.map(({ runtime, model }, i) => ({
    runtime,
    model,
    prefill: answers[i].map(({ prefill }) => prompt / prefill),
    decode: answers[i].map(({ decode }) => AFTER / decode),
  }))
  return { schema: 1, ...made, tokens: { prompt, after: AFTER }, speeds }
}

interface Found {
  readonly path: string
  readonly name: string
  readonly gguf: boolean
  readonly vocabulary: number
  readonly positions: number
}

/** @throws UsageError for a model whose context is too short, or that is too large for our decoder, in float32 */
async function look(path: string, name: string): Promise<Found> {
  await using model = await finish(nodeVerbs.openModel(path))
  const { checkpoint, architecture: a } = model
  const { vocabularySize: vocabulary, maxPositions: positions } = a
  if (positions <= AFTER)
    throw new UsageError(`${name} takes ${positions} tokens at most, too few to be timed. Leave it out.`)
  const needed = decoderBytes(a, 1, PROMPT + AFTER)
  if (needed > totalmem() / 2)
    throw new UsageError(
      `${name} takes ${bytes(needed)} in float32, more than half of what this machine has (${bytes(totalmem())}). ` +
        'Leave it out.',
    )
  return { path, name, gguf: checkpoint.format === 'gguf', vocabulary, positions }
}

/** Our decoder, timed once after a turn that warms up. */
async function inOurs(
  { path }: Found,
  { ids, after }: SpeedRequest,
  options?: EngineOptions,
  signal?: AbortSignal,
): Promise<SpeedAnswer> {
  await using model = await finish(nodeVerbs.openModel(path))
  await using engine = openEngine(options)
  const decoder = await Decoder.open(model, engine, 1, ids.length + after)
  /** The most likely token after `ids`. */
  const step = async (ids: Int32Array) => {
    signal?.throwIfAborted()
    return Int32Array.of(pickToken(await decoder.step([ids]), {}, Math.random))
  }
  const turn = async (count: number) => {
    decoder.reset()
    const started = performance.now()
    let token = await step(Int32Array.from(ids))
    const prefilled = performance.now()
    for (let i = 0; i < count; i++) token = await step(token)
    return { prefill: (prefilled - started) / 1000, decode: (performance.now() - prefilled) / 1000 }
  }
  await turn(1)
  return await turn(after)
}
