// Speed of models where users run them: a prompt, then token by token, in our decoder on ONNX Runtime and, for GGUF files, in llama.cpp.
// Models take turns, so that what else the machine does hits all alike, and one is in memory at a time.
import { availableParallelism, totalmem } from 'node:os'
import { Decoder, decoderBytes } from '../blocks/decoder.ts'
import { pickToken } from '../blocks/sampler.ts'
import { bytes, shortNames } from '../display.ts'
import { UsageError } from '../errors.ts'
import { LLAMA_CPP } from '../export/llama-cpp.node.ts'
import { findPackage, type SpeedAnswer, type SpeedRequest, timeRuntime } from '../export/runtime.node.ts'
import {
  describeMachine,
  describeModel,
  type EngineOptions,
  fetchModel,
  openCheckpoint,
  openEngine,
  type ProgressEvent,
} from '../node.ts'
import { checkRange } from '../options.ts'
import { madeNow } from '../report/result-file.ts'
import type { SpeedResult } from './result.ts'

export interface SpeedOptions extends EngineOptions {
  /** Turns of each model in each runtime. @default 3 */
  readonly runs?: number
  readonly signal?: AbortSignal
}

const PROMPT = 512
const DECODE = 64

/** @param models paths, or names on the Hub @throws FaspError */
export async function* speed(
  models: readonly string[],
  { runs = 3, device, threads, signal }: SpeedOptions,
): AsyncGenerator<ProgressEvent, SpeedResult> {
  checkRange('runs', runs, 1, 1000, true)
  const made = madeNow(describeMachine({ device, threads }))
  const found: Found[] = []
  for (const path of models) found.push(await look(yield* fetchModel(path, { signal })))
  const names = shortNames(models)
  const vocabulary = Math.min(...found.map(model => model.vocabulary))
  const prompt = Math.min(PROMPT, ...found.map(model => model.positions - DECODE))
  if (prompt < 1) throw new UsageError(`a model takes fewer than ${DECODE + 1} tokens, too few to time it.`)
  const ids = Array.from({ length: prompt }, (_, i) => (i * 7919 + 13) % vocabulary)
  const request = { ids, decode: DECODE, threads: threads ?? availableParallelism() }

  const library = findPackage(LLAMA_CPP.package)
  const files = found.filter(model => model.gguf)
  if (files.length > 0 && library === undefined)
    yield notice(`Not timed in llama.cpp: npm install ${LLAMA_CPP.package}.`)
  if (files.length < found.length) yield notice(`llama.cpp times GGUF files only; "fasp export" makes them.`)
  const inLlamaCpp = library === undefined ? [] : files
  const contestants = [
    ...found.map(model => ({
      model,
      runtime: 'ONNX Runtime',
      turn: () => inOurs(model.path, request, { device, threads }),
    })),
    ...inLlamaCpp.map(model => ({
      model,
      runtime: LLAMA_CPP.name,
      turn: () => timeRuntime(LLAMA_CPP, library!, model.path, request),
    })),
  ].map(one => ({ ...one, turns: [] as SpeedAnswer[] }))
  yield { type: 'phase', phase: 'speed', total: runs * contestants.length, unit: 'turns' }
  for (let done = 0; done < runs * contestants.length; done++) {
    signal?.throwIfAborted()
    const { turn, turns } = contestants[done % contestants.length]
    turns.push(await turn())
    yield { type: 'progress', done: done + 1 }
  }
  const speeds = contestants.map(({ model, runtime, turns }) => ({
    runtime,
    model: names[found.indexOf(model)],
    prefill: turns.map(({ prefill }) => prompt / prefill),
    decode: turns.map(({ decode }) => DECODE / decode),
  }))
  return { schema: 1, ...made, prompt, decode: DECODE, speeds }
}

const notice = (message: string) => ({ type: 'notice', message }) as const

interface Found {
  readonly path: string
  readonly gguf: boolean
  readonly vocabulary: number
  readonly positions: number
}

/** @throws UsageError where the model is too large for our decoder, which holds it in float32 */
async function look(path: string): Promise<Found> {
  const checkpoint = await openCheckpoint(path)
  try {
    const { architecture: a } = describeModel(checkpoint)
    const needed = decoderBytes(a, 1, PROMPT + DECODE)
    if (needed > totalmem())
      throw new UsageError(`${path} takes ${bytes(needed)} in float32, this machine has ${bytes(totalmem())}.`)
    return { path, gguf: checkpoint.format === 'gguf', vocabulary: a.vocabularySize, positions: a.maxPositions }
  } finally {
    await checkpoint.close()
  }
}

/** Our decoder, timed once after a turn that warms up. */
async function inOurs(path: string, { ids, decode }: SpeedRequest, options: EngineOptions): Promise<SpeedAnswer> {
  const engine = openEngine(options)
  const checkpoint = await openCheckpoint(path)
  try {
    const decoder = await Decoder.open(describeModel(checkpoint), engine, 1, ids.length + decode)
    const next = (logits: Float32Array) => pickToken(logits, {}, Math.random) // the most likely one
    const turn = async (tokens: number) => {
      decoder.reset()
      const started = performance.now()
      let token = next(await decoder.step([Int32Array.from(ids)]))
      const prefilled = performance.now()
      for (let i = 0; i < tokens; i++) token = next(await decoder.step([Int32Array.of(token)]))
      return { prefill: (prefilled - started) / 1000, decode: (performance.now() - prefilled) / 1000 }
    }
    await turn(1)
    return await turn(decode)
  } finally {
    await engine.close()
    await checkpoint.close()
  }
}
