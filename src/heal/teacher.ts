// The dense model's outputs that healing goes by, made once, in memory or in scratch files: for training texts its most
// likely tokens at each position, or its stream after the last layer, which gives all probabilities; for held-out texts
// always the stream.
import type { Progress } from '../base/events.ts'
import type { Precision } from '../engine/engine.ts'
import { rowsOf } from '../engine/values.ts'
import type { Floats } from '../formats/tensors.ts'
import type { Context } from '../forward/context.ts'
import { divergences } from '../forward/divergence.ts'
import { Head, headRows } from '../forward/head.ts'
import { HalfBlockRunner } from '../forward/runner.ts'
import { embedWindows, type Stream } from '../forward/stream.ts'
import type { HalfWeights } from '../forward/weights.ts'
import { type Architecture, layersOf } from '../model/architecture.ts'
import type { Model } from '../model/model.ts'
import type { Activations, Batch } from '../output/activations.ts'
import { divergenceFrom, type RowLoss, type TopProbabilities, topDivergenceFrom, topProbabilities } from './loss.ts'

/** A model's stream [tokens, d] after the last layer. */
async function* lastStream(
  context: Context,
  model: Model,
  windows: readonly Int32Array[],
  products?: Precision,
): Progress<Stream> {
  const length = windows[0].length
  const stream = await embedWindows(context, model, new HalfBlockRunner(context.engine, length, products), windows)
  yield { type: 'phase', phase: 'evaluate dense', total: layersOf(model.architecture), unit: 'layers' }
  for await (const layer of stream.throughLayers(model))
    yield { type: 'progress', done: layer + 1, tokens: windows.length * length }
  return stream
}

/** Tokens kept for each position. */
const keptOf = (vocabulary: number, top: number): number => Math.min(top, vocabulary)

/** Bytes of a position in a teacher. @param top tokens whose probabilities are kept; 0: all, by the stream */
export const teacherBytes = ({ vocabularySize, hiddenSize }: Architecture, top: number): number =>
  4 * (top > 0 ? 2 * keptOf(vocabularySize, top) + 1 : hiddenSize)

/** The distance from the dense model, over some windows. */
export interface Teacher {
  /** The loss of the rows of these windows, one after another. */
  loss(windows: readonly number[]): RowLoss
}

/** @param head of the dense model @param top most likely tokens; 0: all @param products of half-blocks */
export const openTeacher = (
  context: Context,
  head: Head,
  windows: readonly Int32Array[],
  top: number,
  products?: Precision,
): Progress<Teacher> =>
  top > 0 ? TopTeacher.open(context, head, windows, top, products) : WholeTeacher.open(context, head, windows, products)

/** By the most likely tokens at each position, and what is left for the others. */
class TopTeacher implements Teacher {
  private constructor(
    readonly head: Head,
    readonly rows: Activations, // [tokens, 2k + 1]: ids, log p, the rest
    readonly length: number,
  ) {}

  static async *open(
    context: Context,
    head: Head,
    windows: readonly Int32Array[],
    top: number,
    products?: Precision,
  ): Progress<Teacher> {
    const { engine, pool } = context
    const { model: dense } = head
    const { vocabularySize: v } = dense.architecture
    const length = windows[0].length
    const tokens = windows.length * length
    const k = keptOf(v, top)
    const [width, most] = [2 * k + 1, headRows(dense.architecture)]
    const batches = windows.map((_, w): Batch => ({ windows: 1, start: w * length, tokens: length }))
    const stream = yield* lastStream(context, dense, windows, products)
    const rows = await pool.open(batches, width)
    const room = head.room()
    yield { type: 'phase', phase: 'dense probabilities', total: tokens, unit: 'tokens' }
    for (const batch of stream.batches) {
      context.signal?.throwIfAborted()
      const x = await stream.rows.at(batch)
      for (let start = batch.start; start < batch.start + batch.tokens; start += length) {
        const window = batches[start / length]
        const to = rows.room(window)
        for (let from = 0; from < length; from += most) {
          const n = Math.min(most, length - from)
          const first = start - batch.start + from
          const logits = await head.logitsIn(room, rowsOf(x, first, first + n))
          put(await topProbabilities(engine, logits, v, k), to.subarray(from * width, (from + n) * width), n)
          logits.drop?.()
          yield { type: 'progress', done: start + from + n }
        }
        await rows.store(window)
      }
    }
    await stream.close()
    return new TopTeacher(head, rows, length)
  }

  loss(windows: readonly number[]): RowLoss {
    const { engine, model } = this.head
    return topDivergenceFrom(engine, this.#of(windows), model.architecture.vocabularySize)
  }

  /** Probabilities of `n` rows from row `first` on of these windows. */
  #of(windows: readonly number[]): (first: number, n: number) => Promise<TopProbabilities> {
    const { rows, length } = this
    const k = (rows.width - 1) / 2
    return async (first, n) => {
      const found = { ids: new Int32Array(n * k), top: new Float32Array(n * k), rest: new Float32Array(n) }
      for (let row = 0; row < n; ) {
        const [window, from] = [Math.floor((first + row) / length), (first + row) % length]
        const held = await rows.load(rows.batches[windows[window]])
        const end = Math.min(n, row + length - from)
        for (let at = from * rows.width; row < end; row++, at += rows.width) {
          for (let i = 0; i < k; i++) found.ids[row * k + i] = held[at + i]
          found.top.set(held.subarray(at + k, at + 2 * k), row * k)
          found.rest[row] = held[at + 2 * k]
        }
      }
      return found
    }
  }
}

/** By all tokens, from the head each time. */
class WholeTeacher implements Teacher {
  private constructor(
    readonly head: Head,
    readonly stream: Stream,
    readonly length: number,
  ) {}

  static async *open(
    context: Context,
    head: Head,
    windows: readonly Int32Array[],
    products?: Precision,
  ): Progress<Teacher> {
    return new WholeTeacher(head, yield* lastStream(context, head.model, windows, products), windows[0].length)
  }

  loss(windows: readonly number[]): RowLoss {
    const { head, stream, length } = this
    const { vocabularySize: v } = head.model.architecture
    const logits = async (first: number, n: number) => {
      const found = new Float32Array(n * v)
      for (let row = 0; row < n; ) {
        const [window, from] = [Math.floor((first + row) / length), (first + row) % length]
        const count = Math.min(n - row, length - from)
        const x = await stream.rows.load({ windows: 1, start: windows[window] * length + from, tokens: count })
        await head.logits(x, found.subarray(row * v, (row + count) * v))
        row += count
      }
      return found
    }
    return divergenceFrom(head.engine, logits, v)
  }
}

/** Ids as float32, which has all up to 2²⁴. */
function put({ ids, top, rest }: TopProbabilities, rows: Floats, n: number): void {
  const k = top.length / n
  for (let row = 0, at = 0; row < n; row++, at += 2 * k + 1) {
    for (let i = 0; i < k; i++) rows[at + i] = ids[row * k + i]
    rows.set(top.subarray(row * k, (row + 1) * k), at + k)
    rows[at + 2 * k] = rest[row]
  }
}

/** Mean KL(dense ‖ other) in nats over all positions of some windows, of all tokens of the vocabulary. */
export class Distance {
  private constructor(
    readonly context: Context,
    readonly windows: readonly Int32Array[],
    readonly dense: Stream,
    readonly head: Head,
  ) {}

  static async *open(context: Context, dense: Model, windows: readonly Int32Array[]): Progress<Distance> {
    const stream = yield* lastStream(context, dense, windows)
    return new Distance(context, windows, stream, await Head.open(dense, context.engine))
  }

  /** @param weights of all half-blocks of the model, in their order */
  async of(model: Model, head: Head, weights: AsyncIterable<HalfWeights>): Promise<number> {
    const { context, windows, dense } = this
    const runner = new HalfBlockRunner(context.engine, windows[0].length)
    const stream = await embedWindows(context, model, runner, windows)
    for await (const half of weights) await stream.through(half)
    const most = headRows(model.architecture)
    const rooms = [0, 1].map(() => head.room())
    let sum = 0
    await stream.read(async (x, batch) => {
      const y = await dense.rows.at(batch)
      for (let from = 0; from < batch.tokens; from += most) {
        const n = Math.min(most, batch.tokens - from)
        const others = await head.logitsIn(rooms[0], rowsOf(x, from, from + n))
        const logits = await this.head.logitsIn(rooms[1], rowsOf(y, from, from + n))
        sum += (await divergences(context.engine, logits, others)).reduce((all, one) => all + one, 0)
        for (const used of [others, logits]) used.drop?.()
      }
    })
    await stream.close()
    const sums = Float64Array.of(sum, stream.tokens)
    await context.group?.sum(sums)
    return sums[0] / sums[1]
  }
}
