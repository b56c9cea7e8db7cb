// KL(p ‖ q) between rows of logits, in nats: Σ over rows, from the streams after the last layer.

import { type Engine, values } from '../engine/engine.ts'
import type { Floats } from '../formats/tensors.ts'
import { divergenceGraph } from '../graphs/head.ts'
import { type Head, headRows } from './head.ts'

/** Holds logits of up to `headRows` rows of one model, to compare others with. */
export class Divergence {
  readonly #rows: Floats
  readonly #others: Floats

  constructor(
    readonly engine: Engine,
    readonly vocabulary: number,
  ) {
    const most = headRows({ vocabularySize: vocabulary })
    this.#rows = new Float32Array(most * vocabulary)
    this.#others = new Float32Array(most * vocabulary)
  }

  /** Takes the stream rows `x` [n ≤ headRows, d] that p comes from. */
  from(head: Head, x: Floats): Promise<void> {
    return head.logits(x, this.#view(this.#rows, this.#count(head, x)))
  }

  /** Σ KL(p ‖ q) over the rows last given, with q from the rows `x`. */
  async to(head: Head, x: Floats): Promise<number> {
    const n = this.#count(head, x)
    await head.logits(x, this.#view(this.#others, n))
    const kl = new Float32Array(n)
    const [logits, others] = [this.#rows, this.#others].map(side => values(this.#view(side, n), [n, this.vocabulary]))
    await this.engine.run('divergence', divergenceGraph, { logits, others }, { kl: values(kl, [n, 1]) })
    return kl.reduce((sum, v) => sum + v, 0)
  }

  #count = (head: Head, x: Floats) => x.length / head.model.architecture.hiddenSize
  #view = (side: Floats, rows: number) => side.subarray(0, rows * this.vocabulary)
}
