// How far a pruned model has moved from the dense one, over the tokens of some windows: mean KL(dense ‖ pruned) of the next-token
// probabilities, in nats, and how often both find the same token most likely. Positions are those that perplexity predicts from.
import { Head } from '../blocks/decoder.ts'
import { Divergence } from '../blocks/divergence.ts'
import { forward } from '../blocks/stream.ts'
import type { Engine } from '../engine/engine.ts'
import { UsageError } from '../errors.ts'
import type { Model } from '../model/model.ts'

type Floats = Float32Array<ArrayBuffer>

/** Bytes of hidden states of the dense model that are kept for the next model on the same windows. */
const KEPT_BYTES = 2 ** 30

/** The dense model that others are compared with. It runs once for all that are measured on the same windows, while these fit the memory. */
export class DenseReference {
  readonly #streams = new Map<string, Floats>()
  #bytes = 0
  #head?: Promise<Head>

  constructor(
    readonly model: Model,
    readonly engine: Engine,
  ) {}

  /** @throws UsageError where the models have different vocabularies */
  check(other: Model): void {
    const [own, others] = [this.model, other].map(({ architecture }) => architecture.vocabularySize)
    if (own !== others) throw new UsageError(`the models have vocabularies of ${own} and ${others}; KL needs the same.`)
  }

  /** Whether the windows' hidden states are there already. */
  has(windows: readonly Int32Array[]): boolean {
    return this.#streams.has(keyOf(windows))
  }

  /** The stream after the last layer [tokens, d]. Yields the number of each layer that runs. */
  async *stream(windows: readonly Int32Array[], signal?: AbortSignal): AsyncGenerator<number, Floats> {
    const key = keyOf(windows)
    const kept = this.#streams.get(key)
    if (kept) return kept
    const stream = yield* forward(this.model, this.engine, windows, signal)
    if ((this.#bytes += stream.byteLength) <= KEPT_BYTES) this.#streams.set(key, stream)
    return stream
  }

  /** Compares rows of logits with those of the dense model. @param stream what `stream` gave */
  async open(stream: Floats): Promise<Comparison> {
    const { vocabularySize, hiddenSize } = this.model.architecture
    const divergence = new Divergence(this.engine, vocabularySize)
    const head = await (this.#head ??= Head.open(this.model, this.engine))
    return new Comparison(divergence, (from, n) =>
      divergence.from(head, stream.subarray(from * hiddenSize, (from + n) * hiddenSize)),
    )
  }
}

const keyOf = (windows: readonly Int32Array[]): string => windows.map(ids => ids.join()).join(';')

/** Sums over the rows compared so far. */
export class Comparison {
  kl = 0
  same = 0
  constructor(
    readonly divergence: Divergence,
    private readonly load: (from: number, n: number) => Promise<void>,
  ) {}

  /** @param from the first row @param logits [n, vocabulary] of the pruned model */
  async add(from: number, logits: Floats): Promise<void> {
    await this.load(from, logits.length / this.divergence.vocabulary)
    this.kl += await this.divergence.kl(logits)
    this.same += await this.divergence.agreement(logits)
  }
}
