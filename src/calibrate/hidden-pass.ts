// The passes over the stream that one half-block takes: statistics of `H`, then the new stream once the half-block is pruned.
import type { HalfBlockRunner, HalfWeights } from '../blocks/halfblock.ts'
import { rows, type Stream } from '../blocks/stream.ts'
import { GramAccumulator, type Statistics } from './gram.ts'

export class HiddenPass {
  readonly #hidden: Float32Array<ArrayBuffer>
  readonly #width: number
  #filled = false

  constructor(
    readonly runner: HalfBlockRunner,
    readonly stream: Stream,
    readonly weights: HalfWeights,
    /** Keep `H` of the whole stream between the passes, or compute it anew, batch by batch. */
    readonly keep: boolean,
    readonly signal?: AbortSignal,
  ) {
    this.#width = runner.hiddenWidth(weights)
    const tokens = keep ? stream.tokens : Math.max(...stream.batches.map(b => b.tokens))
    this.#hidden = new Float32Array(tokens * this.#width)
  }

  /** First pass: Gram matrix and mean of `H`. */
  async statistics(): Promise<Statistics> {
    const gram = new GramAccumulator(this.runner.engine, this.#width)
    for await (const { h } of this.#batches()) await gram.accumulate(h)
    this.#filled = this.keep
    return gram.finish()
  }

  /** Last pass: `x ← x + H Wᵀ + b` with the output layer of `weights`, which has zeros where columns are removed. */
  async advance(weights: HalfWeights): Promise<void> {
    for await (const { x, h } of this.#batches()) await this.runner.residual(weights, x, h)
  }

  async *#batches() {
    const { signal, stream, keep } = this
    for (const batch of stream.batches) {
      signal?.throwIfAborted()
      const x = rows(stream.data, this.runner.architecture.hiddenSize, batch)
      const h = rows(this.#hidden, this.#width, keep ? batch : { ...batch, start: 0 })
      if (!this.#filled) await this.runner.hidden(this.weights, x, batch.windows, h)
      yield { x, h }
    }
  }
}
