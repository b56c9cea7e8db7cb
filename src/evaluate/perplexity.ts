// Perplexity: exp of the mean negative log-likelihood over the L − 1 targets of each window of L tokens (docs/method.md).
import { HEAD_ROWS, Head } from '../blocks/decoder.ts'
import { lossGraph } from '../blocks/head.ts'
import { forward } from '../blocks/stream.ts'
import type { Windows } from '../calibrate/windows.ts'
import { type Engine, values } from '../engine/engine.ts'
import { NumericError } from '../errors.ts'
import type { Phase, ProgressEvent } from '../events.ts'
import type { Model } from '../model/model.ts'
import type { PerplexityResult } from '../result.ts'

/** Bytes of hidden states that go through the layers together; more windows take a second trip through the weights. */
const STREAM_BYTES = 2 ** 30

/**
 * Sees the rows that the losses come from on their way: the stream after the last layer `x` [n, d] and its logits [n, vocabulary].
 * @param first number of the first row, counted over all windows, L − 1 in each
 */
export type RowObserver = (
  first: number,
  x: Float32Array<ArrayBuffer>,
  logits: Float32Array<ArrayBuffer>,
) => Promise<void>

/** Evaluates one text. @throws NumericError where the model gives NaN */
export async function* perplexity(
  model: Model,
  engine: Engine,
  { windows, seqLen, texts }: Windows,
  phase: Phase,
  signal?: AbortSignal,
  observe?: RowObserver,
): AsyncGenerator<ProgressEvent, Omit<PerplexityResult, 'bos'>> {
  const a = model.architecture
  const perTrip = Math.max(1, Math.floor(STREAM_BYTES / (4 * seqLen * a.hiddenSize)))
  const trips = Math.ceil(windows.length / perTrip)
  yield { type: 'phase', phase, total: trips * a.layers, unit: 'layers' }
  const means: number[] = []
  for (let trip = 0; trip < trips; trip++) {
    const some = windows.slice(trip * perTrip, (trip + 1) * perTrip)
    const layers = forward(model, engine, some, signal)
    let step = await layers.next()
    for (; !step.done; step = await layers.next())
      yield { type: 'progress', done: trip * a.layers + step.value + 1, tokens: some.length * seqLen }
    const firstRow = trip * perTrip * (seqLen - 1)
    const observer: RowObserver | undefined = observe && ((first, x, logits) => observe(firstRow + first, x, logits))
    means.push(...(await windowLosses(model, engine, step.value, some, observer)))
  }
  const mean = means.reduce((sum, m) => sum + m, 0) / means.length
  if (Number.isNaN(mean))
    throw new NumericError(
      `${model.checkpoint.name}: the model gives NaN on ${texts[0].name}; its weights are damaged.`,
    )
  const variance = means.reduce((sum, m) => sum + (m - mean) ** 2, 0) / (means.length - 1)
  return {
    file: texts[0].name,
    windows: windows.length,
    seqLen,
    tokens: windows.length * (seqLen - 1),
    perplexity: Math.exp(mean),
    standardError: Math.exp(mean) * Math.sqrt(variance / means.length),
  }
}

/** Mean negative log-likelihood of each window, from the stream after the last layer. */
export async function windowLosses(
  model: Model,
  engine: Engine,
  stream: Float32Array<ArrayBuffer>,
  windows: readonly Int32Array[],
  observe?: RowObserver,
): Promise<number[]> {
  const { hiddenSize: d, vocabularySize } = model.architecture
  const head = await Head.open(model, engine)
  const buffer = new Float32Array(HEAD_ROWS * vocabularySize)
  const losses: number[] = []
  for (const [w, ids] of windows.entries()) {
    let sum = 0
    const targets = ids.length - 1
    for (let from = 0; from < targets; from += HEAD_ROWS) {
      const n = Math.min(HEAD_ROWS, targets - from)
      const start = w * ids.length + from
      const logits = buffer.subarray(0, n * vocabularySize)
      const x = stream.subarray(start * d, (start + n) * d)
      await head.logits(x, logits)
      await observe?.(w * targets + from, x, logits)
      const nll = new Float32Array(n)
      const next = BigInt64Array.from(ids.subarray(from + 1, from + 1 + n), BigInt)
      const feeds = { logits: values(logits, [n, vocabularySize]), targets: values(next, [n, 1]) }
      await engine.run('loss', lossGraph, feeds, { nll: values(nll, [n, 1]) })
      for (const value of nll) sum += value
    }
    losses.push(sum / targets)
  }
  return losses
}
