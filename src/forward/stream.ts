// The stream: hidden states [tokens, d] of many windows, in batches small enough for one run. All loops over windows
// are here: `read` and `change` go batch by batch, and the other verbs are made of them.
import { asValues, copyRows, type Rows, type Values } from '../engine/engine.ts'
import type { Floats } from '../formats/tensors.ts'
import { type HalfBlock, hiddenWidth } from '../model/half-block.ts'
import type { Model } from '../model/model.ts'
import type { Activations, Batch } from '../output/activations.ts'
import { ALONE } from '../ranks/group.ts'
import type { Context } from './context.ts'
import { openEmbedding, readTokenRows } from './embed.ts'
import type { Head } from './head.ts'
import { type RowObserver, TokenLosses, windowLosses } from './losses.ts'
import { type Accumulator, dropOwn, weighted } from './observation.ts'
import { type Branches, HalfBlockRunner, type PrunedOutput, type UpdateObserver } from './runner.ts'
import { type HalfWeights, readHalves } from './weights.ts'

/** Tokens of a run: enough for fast products, few enough for little memory. */
export const TOKENS_PER_RUN = 2048

/** Bytes of rows that go through a mixture at a time: each expert is read for all. Their updates take as much. */
export const MIXED_BYTES = 2 ** 28

/** Windows of one length that go through together; `branches` for windows that branch. */
export type StreamBatch = Batch & { readonly branches?: Branches }
type Batches = readonly StreamBatch[]
type Fill = (batch: StreamBatch, number: number) => Promise<Rows>

/** The stream of the dense model, with the same windows in each batch as the pruned one. */
export interface DenseTarget {
  readonly stream: Stream
  /** How much of the difference to the dense stream each half-block makes up for, 0 to 1. */
  readonly alpha: number
}

/** Takes the rows of a batch through a half-block of the dense model by `forward`, or by stored results. */
export type Recall = (half: HalfBlock, batch: Batch, x: Values<Floats>, forward: () => Promise<void>) => Promise<void>

export class Stream {
  private constructor(
    readonly context: Context,
    readonly runner: HalfBlockRunner,
    readonly batches: Batches,
    readonly rows: Activations,
    /** The input of a layer whose FFN goes beside attention. */
    private shared?: Activations,
    readonly recall?: Recall,
  ) {}

  /** @param width d */
  static async open(context: Context, runner: HalfBlockRunner, batches: Batches, width: number, fill: Fill) {
    return new Stream(context, runner, batches, await filled(context, batches, width, fill))
  }

  get tokens(): number {
    return this.batches.reduce((sum, { tokens }) => sum + tokens, 0)
  }

  /** A copy, which goes its own way from here on. */
  async fork(recall?: Recall): Promise<Stream> {
    const { context, runner, batches, rows, shared } = this
    const copy = (of: Activations) => filled(context, batches, of.width, batch => of.at(batch))
    return new Stream(context, runner, batches, await copy(rows), shared && (await copy(shared)), recall)
  }

  /** All rows [tokens, d], where they are in memory. */
  whole(): Promise<Floats> {
    return this.rows.load({ windows: 1, start: 0, tokens: this.tokens })
  }

  /** Its rows and, between parallel half-blocks, the input of both. @param shared opens the latter */
  async held(shared = false): Promise<readonly Activations[]> {
    if (shared) this.shared ??= await this.context.pool.open(this.batches, this.rows.width)
    return this.shared ? [this.rows, this.shared] : [this.rows]
  }

  async close(): Promise<void> {
    await this.shared?.close()
    await this.rows.close()
  }

  /** Shows the rows of each batch, which are valid until the next batch. */
  async read(visit: (x: Values<Floats>, batch: StreamBatch) => Promise<void>): Promise<void> {
    for (const batch of this.batches) {
      this.context.signal?.throwIfAborted()
      await visit(await this.rows.at(batch), batch)
    }
  }

  /** As `read`, and keeps changes of the rows. */
  change(visit: (x: Values<Floats>, batch: StreamBatch) => Promise<void>): Promise<void> {
    return this.read(async (x, batch) => {
      await visit(x, batch)
      await this.rows.store(batch)
    })
  }

  /** The input of a half-block. @param x the stream's rows, which are kept for an FFN beside attention */
  async readBy<R extends Rows>({ half }: HalfWeights, x: R, batch: StreamBatch): Promise<R | Values<Floats>> {
    if (!half.parallel) return x
    this.shared ??= await this.context.pool.open(this.batches, this.rows.width)
    if (half.kind === 'ffn') return this.shared.at(batch)
    await copyRows(this.context.engine.run, asValues(x, this.rows.width), this.shared.roomAt(batch))
    await this.shared.store(batch)
    return x
  }

  /** Goes through a whole half-block. @param seen gets updates of experts */
  async through(weights: HalfWeights, seen?: UpdateObserver): Promise<void> {
    if (!weights.experts || this.recall) return this.change((x, batch) => this.#forward(weights, x, batch))
    const { batches, rows, context, runner } = this
    const most = Math.min(rows.atOnce, Math.ceil(MIXED_BYTES / (4 * rows.width * (batches[0]?.tokens ?? 1))))
    for (let from = 0; from < batches.length; from += most) {
      const some = batches.slice(from, from + most)
      const x: Values<Floats>[] = []
      for (const batch of some) x.push(await rows.at(batch))
      await runner.mix(weights, x, seen, context.signal)
      for (const batch of some) await rows.store(batch)
    }
  }

  async #forward(weights: HalfWeights, x: Values<Floats>, batch: StreamBatch): Promise<void> {
    const read = await this.readBy(weights, x, batch)
    const forward = () => this.runner.forward(weights, x, batch.windows, read, undefined, batch.branches)
    await (this.recall ? this.recall(weights.half, batch, x, forward) : forward())
  }

  /** Goes through a half-block with a pruned output layer. */
  throughPruned(weights: HalfWeights, pruned: PrunedOutput): Promise<void> {
    return this.change(async (x, batch) => {
      const h = this.runner.graphs.array([hiddenWidth(weights.half), batch.tokens])
      await this.runner.hidden(weights, await this.readBy(weights, x, batch), batch.windows, h)
      await this.runner.residual(weights, pruned, x, h)
      h.drop?.()
    })
  }

  /**
   * Computes `H` once, for accumulators and for `advance`, which must follow, or `close` of the result. The stream
   * stays where it is.
   * @param dense goes through the dense model's half-block on the way
   */
  async observe(
    weights: HalfWeights,
    accumulators: readonly Accumulator[],
    dense?: { readonly stream: Stream; readonly weights: HalfWeights },
  ): Promise<Activations> {
    const { runner } = this
    const hidden = await this.context.pool.open(this.batches, hiddenWidth(weights.half), true)
    await this.read(async (x, batch) => {
      const h = hidden.roomAt(batch)
      await runner.hidden(weights, await this.readBy(weights, x, batch), batch.windows, h)
      const y = await dense?.stream.rows.at(batch)
      if (dense && y) await dense.stream.#forward(dense.weights, y, batch)
      const seen = await weighted(runner, weights, { h, tokens: batch.tokens, x, y })
      for (const accumulator of accumulators) await accumulator.add(seen)
      dropOwn(seen, h, x)
      await hidden.store(batch)
      await dense?.stream.rows.store(batch)
    })
    return hidden
  }

  /** `x ← x + H_M Wᵀ + b` with the pruned output layer. @param hidden of `observe`, closed */
  async advance(weights: HalfWeights, pruned: PrunedOutput, hidden: Activations): Promise<void> {
    await this.change(async (x, batch) => {
      const h = await hidden.at(batch)
      await this.runner.residual(weights, pruned, x, h)
      h.drop?.()
    })
    await hidden.close()
  }

  /** Goes through all layers, with the weights of two half-blocks in memory. Yields each layer's number when done. */
  async *throughLayers(model: Model): AsyncGenerator<number, void> {
    for await (const weights of readHalves(model, model.architecture.halves)) {
      await this.through(weights)
      if (weights.half.kind === 'ffn') yield weights.half.layer
    }
  }

  /** After the last layer: mean negative log-likelihood of each of the windows. */
  async losses(head: Head, windows: readonly Int32Array[], observe?: RowObserver): Promise<number[]> {
    const tokenLosses = new TokenLosses(head)
    const found: number[] = []
    await this.read(async (x, batch) => {
      const these = windows.slice(found.length, found.length + batch.windows)
      found.push(...(await windowLosses(tokenLosses, x, these, observe, found.length)))
    })
    return found
  }
}

/** What streams hold, by name. @param names opens what does not exist yet */
export async function heldBy(streams: Readonly<Record<string, Stream | undefined>>, names: readonly string[]) {
  const held = new Map<string, Activations>()
  for (const [name, stream] of Object.entries(streams))
    for (const [i, rows] of ((await stream?.held(names.includes(`${name} 1`))) ?? []).entries())
      held.set(i === 0 ? name : `${name} ${i}`, rows)
  return held
}

async function filled({ pool, engine }: Context, batches: Batches, width: number, fill: Fill): Promise<Activations> {
  const rows = await pool.open(batches, width)
  for (const [i, batch] of batches.entries()) {
    await copyRows(engine.run, asValues(await fill(batch, i), width), rows.roomAt(batch))
    await rows.store(batch)
  }
  return rows
}

/** A stream of this rank's share of windows of equal length. */
export async function embedWindows(
  context: Context,
  model: Model,
  runner: HalfBlockRunner,
  all: readonly Int32Array[],
): Promise<Stream> {
  const windows = (context.group ?? ALONE).share(all)
  const { length } = all[0]
  const perBatch = Math.max(1, Math.floor(TOKENS_PER_RUN / length))
  const batches: Batch[] = []
  for (let w = 0; w < windows.length; w += perBatch) {
    const count = Math.min(perBatch, windows.length - w)
    batches.push({ windows: count, start: w * length, tokens: count * length })
  }
  const embedding = await openEmbedding(model, context.engine, await readTokenRows(model, windows))
  return Stream.open(context, runner, batches, model.architecture.hiddenSize, ({ start, windows: count }) => {
    const first = start / length
    return embedding.embed(windows.slice(first, first + count))
  })
}

/**
 * Takes windows of equal length through all layers. Yields each layer's number when done.
 * @returns the stream after the last layer
 */
export async function* forward(
  context: Context,
  model: Model,
  windows: readonly Int32Array[],
): AsyncGenerator<number, Stream> {
  const runner = new HalfBlockRunner(context.engine, windows[0].length)
  const stream = await embedWindows(context, model, runner, windows)
  yield* stream.throughLayers(model)
  return stream
}
