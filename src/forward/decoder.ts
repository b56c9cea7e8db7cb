// Token by token: the whole model in memory, a KV cache per layer, many sequences of equal length at once.
import { copyRows, type Engine } from '../engine/engine.ts'
import { rowsOf } from '../engine/values.ts'
import { elements } from '../formats/tensors.ts'
import { paddedHeadSize } from '../graphs/attention.ts'
import { type Architecture, attentionHalves, tensorShapes } from '../model/architecture.ts'
import type { AttentionHalf } from '../model/half-block.ts'
import { type Model, readWeights } from '../model/model.ts'
import { type Embedding, openEmbedding } from './embed.ts'
import { Head } from './head.ts'
import { type Cache, HalfBlockRunner } from './runner.ts'
import { type HalfWeights, readWhole } from './weights.ts'

/** Bytes of a decoder: all weights in float32, and the caches. */
export function decoderBytes(a: Architecture, sequences: number, positions: number): number {
  const weights = [...tensorShapes(a).values()].reduce((n, shape) => n + elements(shape), 0)
  const caches = attentionHalves(a).reduce((n, half) => n + 2 * cacheSize(half, sequences, positions), 0)
  return 4 * (weights + caches + sequences * a.vocabularySize)
}

const cacheSize = (half: AttentionHalf, sequences: number, positions: number): number =>
  sequences * half.kvHeads * positions * paddedHeadSize(half)

export class Decoder {
  private constructor(
    readonly model: Model,
    readonly sequences: number,
    readonly positions: number,
    private readonly runner: HalfBlockRunner,
    private readonly embedding: Embedding,
    private readonly halves: readonly HalfWeights[],
    private readonly caches: ReadonlyMap<HalfWeights, Cache>,
    private readonly head: Head,
    private readonly logits: Float32Array<ArrayBuffer>,
  ) {}

  static async open(model: Model, engine: Engine, sequences: number, positions: number): Promise<Decoder> {
    const a = model.architecture
    const runner = new HalfBlockRunner(engine, positions)
    const halves: HalfWeights[] = []
    const caches = new Map<HalfWeights, Cache>()
    for (const half of a.halves) {
      const weights = await readWhole(model, half)
      halves.push(weights)
      if (half.kind === 'attention') caches.set(weights, runner.cache(half, sequences))
    }
    const table = await readWeights(model, `${a.names.embedding}.weight`)
    const embedding = await openEmbedding(model, engine, { rows: table })
    const head = await Head.open(model, engine, table)
    const logits = new Float32Array(sequences * a.vocabularySize)
    return new Decoder(model, sequences, positions, runner, embedding, halves, caches, head, logits)
  }

  /** Forgets the tokens so far. */
  reset(): void {
    for (const cache of this.caches.values()) cache.past = 0
  }

  /** Tokens of each sequence so far. */
  get #past(): number {
    const [{ past }] = this.caches.values()
    return past
  }

  /**
   * Takes the next tokens of every sequence (as many for each).
   * @returns logits [sequences, vocabulary], or probabilities at a temperature above 0; valid until the next step
   */
  async step(ids: readonly Int32Array[], temperature = 0): Promise<Float32Array<ArrayBuffer>> {
    const { hiddenSize: d } = this.model.architecture
    const { array, run } = this.head.engine
    const length = ids[0].length
    const x = array([this.sequences * length, d], await this.embedding.embed(ids, this.#past))
    let read = x
    for (const weights of this.halves) {
      const cache = this.caches.get(weights)
      if (cache && weights.half.parallel) await copyRows(run, x, (read = array(x.shape)))
      await this.runner.forward(weights, x, this.sequences, read, cache)
      if (cache) cache.past += length
    }
    const v = this.logits.length / this.sequences
    const ends = length === 1 ? [x] : ids.map((_, s) => rowsOf(x, (s + 1) * length - 1, (s + 1) * length))
    for (const [s, rows] of ends.entries())
      await this.head.logits(rows, this.logits.subarray(s * v, (s + rows.shape[0]) * v), temperature)
    return this.logits
  }
}
