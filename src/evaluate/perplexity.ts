// Perplexity: exp of the mean negative log-likelihood over the L − 1 targets of each window of L tokens (docs/method.md).
import { HEAD_ROWS } from '../blocks/decoder.ts'
import { forward } from '../blocks/stream.ts'
import type { Windows } from '../calibrate/windows.ts'
import type { Engine } from '../engine/engine.ts'
import { NumericError } from '../errors.ts'
import type { Phase, ProgressEvent } from '../events.ts'
import type { Model } from '../model/model.ts'
import type { DivergenceResult, PerplexityResult } from '../result.ts'
import type { DenseReference } from './divergence.ts'
import { TokenLosses } from './losses.ts'

/** Bytes of hidden states that go through the layers together; more windows take a second trip through the weights. */
export const STREAM_BYTES = 2 ** 30

/** @param logits [n, vocabulary] of the stream's rows from `from` on */
type EachRows = (from: number, logits: Float32Array<ArrayBuffer>) => Promise<void>

/**
 * Evaluates one text.
 * @param reference the dense model, where the result shall say how far this one has moved from it
 * @throws NumericError where the model gives NaN; UsageError where the dense model has another vocabulary
 */
export async function* perplexity(
  model: Model,
  engine: Engine,
  { windows, seqLen, texts }: Windows,
  phase: Phase,
  signal?: AbortSignal,
  reference?: DenseReference,
): AsyncGenerator<ProgressEvent, Omit<PerplexityResult, 'bos'> & { readonly divergence?: DivergenceResult }> {
  reference?.check(model)
  const a = model.architecture
  const perTrip = Math.max(1, Math.floor(STREAM_BYTES / (4 * seqLen * a.hiddenSize)))
  const trips = Array.from({ length: Math.ceil(windows.length / perTrip) }, (_, trip) =>
    windows.slice(trip * perTrip, (trip + 1) * perTrip),
  )
  const denseLayers = reference?.model.architecture.layers ?? 0
  const layers = trips.reduce((n, some) => n + a.layers + (reference?.has(some) ? 0 : denseLayers), 0)
  yield { type: 'phase', phase, total: layers, unit: 'layers' }
  const means: number[] = []
  let [done, kl, same] = [0, 0, 0]
  for (const some of trips) {
    const run = async function* (layers: AsyncGenerator<number, Float32Array<ArrayBuffer>>) {
      let step = await layers.next()
      for (; !step.done; step = await layers.next())
        yield { type: 'progress', done: ++done, tokens: some.length * seqLen } as const
      return step.value
    }
    const comparison = reference && (await reference.open(yield* run(reference.stream(some, signal))))
    const stream = yield* run(forward(model, engine, some, signal))
    means.push(
      ...(await windowLosses(model, engine, stream, some, comparison && ((...rows) => comparison.add(...rows)))),
    )
    kl += comparison?.kl ?? 0
    same += comparison?.same ?? 0
  }
  const mean = means.reduce((sum, m) => sum + m, 0) / means.length
  if (Number.isNaN(mean))
    throw new NumericError(
      `${model.checkpoint.name}: the model gives NaN on ${texts[0].name}; its weights are damaged.`,
    )
  const variance = means.reduce((sum, m) => sum + (m - mean) ** 2, 0) / (means.length - 1)
  const measured = { file: texts[0].name, windows: windows.length, seqLen }
  const tokens = windows.length * (seqLen - 1)
  return {
    ...measured,
    tokens,
    perplexity: Math.exp(mean),
    standardError: Math.exp(mean) * Math.sqrt(variance / means.length),
    ...(reference && { divergence: { ...measured, kl: kl / tokens, topAgreement: same / tokens } }),
  }
}

/**
 * Mean negative log-likelihood of each window, from the stream after the last layer.
 * @param each called with the logits of all rows that predict, some at a time
 */
export async function windowLosses(
  model: Model,
  engine: Engine,
  stream: Float32Array<ArrayBuffer>,
  windows: readonly Int32Array[],
  each?: EachRows,
): Promise<number[]> {
  const d = model.architecture.hiddenSize
  const tokenLosses = await TokenLosses.open(model, engine)
  const losses: number[] = []
  for (const [w, ids] of windows.entries()) {
    let sum = 0
    const targets = ids.length - 1
    for (let from = 0; from < targets; from += HEAD_ROWS) {
      const to = Math.min(from + HEAD_ROWS, targets)
      const start = w * ids.length + from
      const rows = stream.subarray(start * d, (start + to - from) * d)
      for (const value of await tokenLosses.of(rows, ids.subarray(from + 1, to + 1))) sum += value
      await each?.(start, tokenLosses.logits(to - from))
    }
    losses.push(sum / targets)
  }
  return losses
}
