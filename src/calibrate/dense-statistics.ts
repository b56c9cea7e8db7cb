// What the dense model's own activations say of it, from one pass over the calibration windows. It depends on no method, so that all
// methods that ask for it can share it (FLAP, ShortGPT):
//   of each half-block's H: mean μ_j and variance F_j = Σ_t (h_tj − μ_j)² / (N − 1);
//   of each layer: block influence 1 − E_t[cos(x_t, y_t)] between the streams x before and y after it.
// Batches are put together as in Chan, Golub & LeVeque, The American Statistician 1983.

import type { ActivationPool } from '../blocks/activations.ts'
import { HalfBlockRunner } from '../blocks/halfblock.ts'
import { embedWindows } from '../blocks/stream.ts'
import { readHalf } from '../blocks/weights.ts'
import { type Engine, values } from '../engine/engine.ts'
import type { ProgressEvent } from '../events.ts'
import { Graph } from '../formats/onnx.ts'
import type { Floats } from '../formats/tensors.ts'
import { halfBlocks } from '../model/architecture.ts'
import type { Model } from '../model/model.ts'
import type { Windows } from './windows.ts'

type Doubles = Float64Array<ArrayBuffer>

/** Of the columns of H. */
export interface Moments {
  readonly mean: Doubles // [width]
  readonly variance: Doubles // [width]
}

export interface DenseStatistics {
  readonly layers: readonly {
    readonly attention: Moments
    readonly ffn: Moments
    /** Block influence. */
    readonly influence: number
  }[]
}

/** @throws FaspError */
export async function* denseStatistics(
  model: Model,
  engine: Engine,
  { windows, seqLen }: Windows,
  pool: ActivationPool,
  signal?: AbortSignal,
): AsyncGenerator<ProgressEvent, DenseStatistics> {
  const a = model.architecture
  yield { type: 'phase', phase: 'allocate', total: a.layers, unit: 'layers' }
  const runner = new HalfBlockRunner(engine, a, seqLen, 'float32')
  const stream = await embedWindows(model, engine, windows, pool)
  const layers = []
  for (let layer = 0; layer < a.layers; layer++) {
    const [attention, ffn] = halfBlocks(a, layer)
    const halves = [await readHalf(model, attention), await readHalf(model, ffn)]
    const moments = halves.map(weights => new MomentAccumulator(engine, runner.hiddenWidth(weights)))
    let cosines = 0
    for (const batch of stream.batches) {
      signal?.throwIfAborted()
      const x = await stream.rows.load(batch)
      const before = x.slice()
      for (const [i, weights] of halves.entries()) {
        const { width } = moments[i]
        const h = new Float32Array(width * batch.tokens)
        await runner.hidden(weights, x, batch.windows, h)
        await moments[i].accumulate(h)
        const columns = Int32Array.from({ length: width }, (_, j) => j)
        await runner.residual(weights, { output: weights.output, columns }, x, h)
      }
      cosines += sumOfCosines(before, x, a.hiddenSize)
      await stream.rows.store(batch)
    }
    const [m, n] = moments.map(moment => moment.finish())
    layers.push({ attention: m, ffn: n, influence: 1 - cosines / stream.tokens })
    yield { type: 'progress', done: layer + 1, tokens: stream.tokens }
  }
  await stream.rows.close()
  return { layers }
}

class MomentAccumulator {
  readonly #mean: Doubles
  readonly #squares: Doubles // Σ (h − μ)²
  #tokens = 0

  constructor(
    readonly engine: Engine,
    readonly width: number,
  ) {
    this.#mean = new Float64Array(width)
    this.#squares = new Float64Array(width)
  }

  /** @param h `Hᵀ` [width, tokens] */
  async accumulate(h: Floats): Promise<void> {
    const { width } = this
    const tokens = h.length / width
    const [mean, squares] = [new Float32Array(width), new Float32Array(width)]
    const outputs = { mean: values(mean, [width, 1]), squares: values(squares, [width, 1]) }
    await this.engine.run('moments', momentsGraph, { h: values(h, [width, tokens]) }, outputs)
    const all = this.#tokens + tokens
    for (let j = 0; j < width; j++) {
      const step = mean[j] - this.#mean[j]
      this.#squares[j] += squares[j] + (step ** 2 * this.#tokens * tokens) / all
      this.#mean[j] += (step * tokens) / all
    }
    this.#tokens = all
  }

  finish(): Moments {
    return { mean: this.#mean, variance: this.#squares.map(sum => sum / Math.max(1, this.#tokens - 1)) }
  }
}

/** Mean and sum of squared deviations of each row of `h` [width, tokens]. */
function momentsGraph(): Graph {
  const g = new Graph('moments')
  const h = g.input('h', 'float32', ['m', 'n'])
  const mean = g.op('ReduceMean', [h, g.constant('int64', [1])], { keepdims: 1 })
  const squares = g.op('ReduceSumSquare', [g.op('Sub', [h, mean]), g.constant('int64', [1])], { keepdims: 1 })
  g.output('mean', mean, 'float32', ['m', 1])
  g.output('squares', squares, 'float32', ['m', 1])
  return g
}

/** `Σ_t cos(x_t, y_t)` over the rows of two matrices [tokens, d]; of a row of zeros it is 0. */
function sumOfCosines(x: Floats, y: Floats, d: number): number {
  let sum = 0
  for (let from = 0; from < x.length; from += d) {
    let [xy, xx, yy] = [0, 0, 0]
    for (let i = from; i < from + d; i++) {
      xy += x[i] * y[i]
      xx += x[i] * x[i]
      yy += y[i] * y[i]
    }
    sum += xy / (Math.sqrt(xx * yy) || 1)
  }
  return sum
}
