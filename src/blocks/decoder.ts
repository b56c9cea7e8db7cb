// Token by token: the whole model in memory, a KV cache per layer, many sequences of equal length at once.
import { type Engine, type Feeds, values } from '../engine/engine.ts'
import { elements } from '../formats/tensors.ts'
import { type Architecture, graphKey, halfBlocks, tensorShapes } from '../model/architecture.ts'
import { type Model, readWeights } from '../model/model.ts'
import { paddedHeadSize } from './attention.ts'
import { type Embedding, openEmbedding } from './embed.ts'
import { type Cache, HalfBlockRunner } from './halfblock.ts'
import { logitsGraph } from './head.ts'
import { type HalfWeights, readHalf, readNorm } from './weights.ts'

/** Rows of logits held at once, where their bytes allow it: products are large enough then. */
const HEAD_ROWS = 256
/** Of the logits held at once: all rows of a vocabulary of 131,072, which LLaMA 3's is within. Up to six such arrays are there at a time. */
const HEAD_BYTES = 2 ** 27

/** Rows of logits that go through a head together. */
export const headRows = ({ vocabularySize }: Pick<Architecture, 'vocabularySize'>): number =>
  Math.max(1, Math.min(HEAD_ROWS, Math.floor(HEAD_BYTES / 4 / vocabularySize)))

/** Final norm, projection and head: turns the stream into logits. */
export class Head {
  private constructor(
    readonly engine: Engine,
    readonly model: Model,
    readonly feeds: Feeds,
  ) {}

  /** @param table the embedding's rows, where they are in memory already */
  static async open(model: Model, engine: Engine, table?: Float32Array<ArrayBuffer>): Promise<Head> {
    const { names, tied, vocabularySize, embeddingSize, hiddenSize } = model.architecture
    const head = (tied && table) || (await readWeights(model, `${tied ? names.embedding : names.head}.weight`))
    return new Head(engine, model, {
      ...(names.finalNorm ? await readNorm(model, names.finalNorm) : {}),
      head: values(head, [vocabularySize, embeddingSize]),
      project: names.projectOut
        ? values(await readWeights(model, `${names.projectOut}.weight`), [embeddingSize, hiddenSize])
        : undefined,
    })
  }

  /** Writes the logits [n, vocabulary] of the stream rows `x` [n, d] to `logits`. */
  async logits(x: Float32Array<ArrayBuffer>, logits: Float32Array<ArrayBuffer>): Promise<void> {
    const a = this.model.architecture
    const n = x.length / a.hiddenSize
    const feeds = { ...this.feeds, x: values(x, [n, a.hiddenSize]) }
    await this.engine.run(`logits ${graphKey(a)}`, () => logitsGraph(a), feeds, {
      logits: values(logits, [n, a.vocabularySize]),
    })
  }
}

/** Bytes that a decoder holds: all weights in float32, and the caches. */
export function decoderBytes(a: Architecture, sequences: number, positions: number): number {
  const weights = [...tensorShapes(a).values()].reduce((n, shape) => n + elements(shape), 0)
  const caches = 2 * a.layers * sequences * a.kvHeads * positions * paddedHeadSize(a)
  return 4 * (weights + caches + sequences * a.vocabularySize)
}

/** A model ready to go on with `sequences` texts of up to `positions` tokens. */
export class Decoder {
  private constructor(
    readonly model: Model,
    readonly sequences: number,
    readonly positions: number,
    private readonly runner: HalfBlockRunner,
    private readonly embedding: Embedding,
    private readonly halves: readonly HalfWeights[],
    private readonly caches: readonly Cache[],
    private readonly head: Head,
  ) {}

  static async open(model: Model, engine: Engine, sequences: number, positions: number): Promise<Decoder> {
    const a = model.architecture
    const halves: HalfWeights[] = []
    const caches: Cache[] = []
    for (let layer = 0; layer < a.layers; layer++) {
      for (const half of halfBlocks(a, layer)) halves.push(await readHalf(model, half))
      const size = sequences * a.kvHeads * positions * paddedHeadSize(a)
      caches.push({ key: new Float32Array(size), value: new Float32Array(size), positions, past: 0 })
    }
    const runner = new HalfBlockRunner(engine, a, positions)
    const table = await readWeights(model, `${a.names.embedding}.weight`)
    const embedding = await openEmbedding(model, engine, { rows: table })
    const head = await Head.open(model, engine, table)
    return new Decoder(model, sequences, positions, runner, embedding, halves, caches, head)
  }

  /** Forgets the tokens so far. */
  reset(): void {
    for (const cache of this.caches) cache.past = 0
  }

  /** Takes the next tokens of every sequence (as many for each) and gives the logits [sequences, vocabulary] after them. */
  async step(ids: readonly Int32Array[]): Promise<Float32Array<ArrayBuffer>> {
    const { hiddenSize: d, vocabularySize } = this.model.architecture
    const length = ids[0].length
    const x = await this.embedding.embed(ids, this.caches[0].past)
    for (const [i, weights] of this.halves.entries()) {
      const cache = weights.half.kind === 'attention' ? this.caches[i / 2] : undefined
      await this.runner.forward(weights, x, this.sequences, cache)
      if (cache) cache.past += length
    }
    const last = new Float32Array(this.sequences * d)
    for (let s = 0; s < this.sequences; s++)
      last.set(x.subarray(((s + 1) * length - 1) * d, (s + 1) * length * d), s * d)
    const logits = new Float32Array(this.sequences * vocabularySize)
    await this.head.logits(last, logits)
    return logits
  }
}
