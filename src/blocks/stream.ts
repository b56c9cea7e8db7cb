// The stream: the hidden states [tokens, d] of many windows of one length, in batches small enough for one run.
import type { Engine } from '../engine/engine.ts'
import { finish } from '../events.ts'
import { halfBlocks } from '../model/architecture.ts'
import type { Model } from '../model/model.ts'
import { ActivationPool, type Activations, type Batch } from './activations.ts'
import { openEmbedding, readTokenRows } from './embed.ts'
import { type Branches, HalfBlockRunner, type PrunedOutput } from './halfblock.ts'
import { type HalfWeights, readHalves } from './weights.ts'

/** Tokens that one run takes: enough for the matrix products to reach their speed, few enough to stay in little memory. */
export const TOKENS_PER_RUN = 2048

export interface Stream {
  readonly rows: Activations // [tokens, d]
  readonly tokens: number
  readonly batches: readonly (Batch & { readonly branches?: Branches })[]
}

/** Embeds windows of equal length. */
export async function embedWindows(
  model: Model,
  engine: Engine,
  windows: readonly Int32Array[],
  pool: ActivationPool,
): Promise<Stream> {
  const length = windows[0].length
  const perBatch = Math.max(1, Math.floor(TOKENS_PER_RUN / length))
  const batches: Batch[] = []
  for (let w = 0; w < windows.length; w += perBatch) {
    const count = Math.min(perBatch, windows.length - w)
    batches.push({ windows: count, start: w * length, tokens: count * length })
  }
  const rows = await pool.open(batches, model.architecture.hiddenSize)
  const embedding = await openEmbedding(model, engine, await readTokenRows(model, windows))
  for (const batch of batches) {
    const first = batch.start / length
    rows.room(batch).set(await embedding.embed(windows.slice(first, first + batch.windows)))
    await rows.store(batch)
  }
  return { rows, tokens: windows.length * length, batches }
}

/** The same stream again. */
export async function copyStream({ rows, tokens, batches }: Stream, d: number, pool: ActivationPool): Promise<Stream> {
  const copy = await pool.open(batches, d)
  for (const batch of batches) {
    copy.room(batch).set(await rows.load(batch))
    await copy.store(batch)
  }
  return { rows: copy, tokens, batches }
}

/** Takes the stream through a half-block that nothing is removed from. */
export async function passThrough(
  runner: HalfBlockRunner,
  stream: Stream,
  weights: HalfWeights,
  signal?: AbortSignal,
): Promise<void> {
  for (const batch of stream.batches) {
    signal?.throwIfAborted()
    await runner.forward(weights, await stream.rows.load(batch), batch.windows, undefined, batch.branches)
    await stream.rows.store(batch)
  }
}

/** Takes the stream through a half-block with a pruned output layer. */
export async function passPruned(
  runner: HalfBlockRunner,
  stream: Stream,
  weights: HalfWeights,
  pruned: PrunedOutput,
  signal?: AbortSignal,
): Promise<void> {
  for (const batch of stream.batches) {
    signal?.throwIfAborted()
    const x = await stream.rows.load(batch)
    const h = new Float32Array(runner.hiddenWidth(weights) * batch.tokens)
    await runner.hidden(weights, x, batch.windows, h)
    await runner.residual(weights, pruned, x, h)
    await stream.rows.store(batch)
  }
}

/** Takes a stream through all layers, the weights of two half-blocks in memory at a time. Yields each layer's number when done. */
export async function* throughLayers(
  model: Model,
  runner: HalfBlockRunner,
  stream: Stream,
  signal?: AbortSignal,
): AsyncGenerator<number, void> {
  const a = model.architecture
  const halves = Array.from({ length: a.layers }, (_, layer) => halfBlocks(a, layer)).flat()
  for await (const weights of readHalves(model, halves)) {
    await passThrough(runner, stream, weights, signal)
    if (weights.half.kind === 'ffn') yield weights.half.layer
  }
}

/**
 * Takes windows of equal length through all layers. Yields each layer's number when done.
 * @returns the stream after the last layer [tokens, d]
 */
export async function* forward(
  model: Model,
  engine: Engine,
  windows: readonly Int32Array[],
  signal?: AbortSignal,
): AsyncGenerator<number, Float32Array<ArrayBuffer>> {
  const runner = new HalfBlockRunner(engine, model.architecture, windows[0].length)
  const stream = await embedWindows(model, engine, windows, new ActivationPool(Number.POSITIVE_INFINITY))
  yield* throughLayers(model, runner, stream, signal)
  return stream.rows.load({ windows: windows.length, start: 0, tokens: stream.tokens })
}

/** The stream after the last layer, without progress. */
export const lastStream = (model: Model, engine: Engine, windows: readonly Int32Array[]) =>
  finish(forward(model, engine, windows))
