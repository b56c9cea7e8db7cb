// The stream: the hidden states [tokens, d] of many windows of one length, in batches small enough for one run.
import type { Engine } from '../engine/engine.ts'
import { halfBlocks } from '../model/architecture.ts'
import type { Model } from '../model/model.ts'
import { openEmbedding } from './embed.ts'
import { HalfBlockRunner, readHalf } from './halfblock.ts'

/** Tokens that one run takes: enough for the matrix products to reach their speed, few enough to stay in little memory. */
const TOKENS_PER_RUN = 2048

/** Some consecutive windows of a stream and where their tokens lie. */
export interface Batch {
  readonly windows: number
  readonly start: number
  readonly tokens: number
}

export interface Stream {
  readonly data: Float32Array<ArrayBuffer> // [tokens, d]
  readonly tokens: number
  readonly batches: readonly Batch[]
}

/** Rows of a [tokens, width] matrix that belong to a batch: a view, not a copy. */
export const rows = (data: Float32Array<ArrayBuffer>, width: number, { start, tokens }: Batch) =>
  data.subarray(start * width, (start + tokens) * width)

/** Embeds windows of equal length. */
export async function embedWindows(model: Model, engine: Engine, windows: readonly Int32Array[]): Promise<Stream> {
  const d = model.architecture.hiddenSize
  const length = windows[0].length
  const data = new Float32Array(windows.length * length * d)
  const embedding = await openEmbedding(model, engine)
  const perBatch = Math.max(1, Math.floor(TOKENS_PER_RUN / length))
  const batches: Batch[] = []
  for (let w = 0; w < windows.length; w += perBatch) {
    const some = windows.slice(w, w + perBatch)
    data.set(await embedding.embed(some), w * length * d)
    batches.push({ windows: some.length, start: w * length, tokens: some.length * length })
  }
  return { data, tokens: windows.length * length, batches }
}

/** Takes windows of equal length through all layers, one layer's weights in memory at a time. Yields each layer's number when done. */
export async function* forward(
  model: Model,
  engine: Engine,
  windows: readonly Int32Array[],
  signal?: AbortSignal,
): AsyncGenerator<number, Stream> {
  const a = model.architecture
  const runner = new HalfBlockRunner(engine, a, windows[0].length)
  const stream = await embedWindows(model, engine, windows)
  for (let layer = 0; layer < a.layers; layer++) {
    for (const half of halfBlocks(a, layer)) {
      const weights = await readHalf(model, half)
      const width = runner.hiddenWidth(weights)
      const buffer = new Float32Array(Math.max(...stream.batches.map(b => b.tokens)) * width)
      for (const batch of stream.batches) {
        signal?.throwIfAborted()
        const x = rows(stream.data, a.hiddenSize, batch)
        const h = buffer.subarray(0, batch.tokens * width)
        await runner.hidden(weights, x, batch.windows, h)
        await runner.residual(weights, x, h)
      }
    }
    yield layer
  }
  return stream
}
