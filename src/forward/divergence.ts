// KL(p ‖ q) between rows of logits, in nats.

import { type Engine, values } from '../engine/engine.ts'
import type { Floats } from '../formats/tensors.ts'
import { divergenceGraph } from '../graphs/head.ts'
import { type Head, headRows } from './head.ts'

/** KL(p ‖ q) of each of `n` rows, with p from `logits` and q from `others` [n, vocabulary]. */
export async function divergences(engine: Engine, logits: Floats, others: Floats, n: number): Promise<Floats> {
  const shape = [n, logits.length / n]
  const kl = new Float32Array(n)
  const feeds = { logits: values(logits, shape), others: values(others, shape) }
  await engine.run('divergence', divergenceGraph, feeds, { kl: values(kl, [n, 1]) })
  return kl
}

/** Holds logits of up to `headRows` rows of one model, to compare others with. */
export class Divergence {
  readonly #rows: Floats
  readonly #others: Floats

  constructor(readonly head: Head) {
    const a = head.model.architecture
    const size = headRows(a) * a.vocabularySize
    this.#rows = new Float32Array(size)
    this.#others = new Float32Array(size)
  }

  /** Takes the stream rows `x` [n ≤ headRows, d] that p comes from. */
  from(x: Floats): Promise<void> {
    return this.head.logits(x, this.#view(this.#rows, this.#count(x)))
  }

  /** Σ KL(p ‖ q) over the rows last given, with q from the rows `x`. */
  async to(x: Floats): Promise<number> {
    const { engine } = this.head
    const n = this.#count(x)
    await this.head.logits(x, this.#view(this.#others, n))
    const [logits, others] = [this.#rows, this.#others].map(side => this.#view(side, n))
    return (await divergences(engine, logits, others, n)).reduce((sum, v) => sum + v, 0)
  }

  #count = (x: Floats) => x.length / this.head.model.architecture.hiddenSize
  #view = (side: Floats, rows: number) => side.subarray(0, rows * this.head.model.architecture.vocabularySize)
}
