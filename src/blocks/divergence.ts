// KL(p ‖ q) between rows of logits, in nats, and how often both find the same token most likely: Σ over rows.
import { type Engine, values } from '../engine/engine.ts'
import { HEAD_ROWS, type Head } from './decoder.ts'
import { agreementGraph, divergenceGraph } from './head.ts'

type Floats = Float32Array<ArrayBuffer>

/** Holds logits of up to `HEAD_ROWS` rows of one model, to compare others with. */
export class Divergence {
  readonly #rows: Floats
  readonly #others: Floats

  constructor(
    readonly engine: Engine,
    readonly vocabulary: number,
  ) {
    this.#rows = new Float32Array(HEAD_ROWS * vocabulary)
    this.#others = new Float32Array(HEAD_ROWS * vocabulary)
  }

  /** Takes the stream rows `x` [n ≤ HEAD_ROWS, d] that p comes from. */
  from(head: Head, x: Floats): Promise<void> {
    return head.logits(x, this.#view(this.#rows, this.#count(head, x)))
  }

  /** Σ KL(p ‖ q) over the rows last given, with q from the rows `x`. */
  async to(head: Head, x: Floats): Promise<number> {
    const others = this.#view(this.#others, this.#count(head, x))
    await head.logits(x, others)
    return this.kl(others)
  }

  /** Σ KL(p ‖ q) over the rows last given, with q from the logits `others` [n, vocabulary]. */
  async kl(others: Floats): Promise<number> {
    const n = others.length / this.vocabulary
    const kl = new Float32Array(n)
    await this.engine.run('divergence', divergenceGraph, this.#feeds(others, n), { kl: values(kl, [n, 1]) })
    return kl.reduce((sum, v) => sum + v, 0)
  }

  /** Rows last given whose most likely token is that of the logits `others` [n, vocabulary], too. */
  async agreement(others: Floats): Promise<number> {
    const n = others.length / this.vocabulary
    const same = new Float32Array(n)
    await this.engine.run('agreement', agreementGraph, this.#feeds(others, n), { same: values(same, [n, 1]) })
    return same.reduce((sum, v) => sum + v, 0)
  }

  #feeds(others: Floats, n: number) {
    const shape = [n, this.vocabulary]
    return { logits: values(this.#view(this.#rows, n), shape), others: values(others, shape) }
  }

  #count = (head: Head, x: Floats) => x.length / head.model.architecture.hiddenSize
  #view = (side: Floats, rows: number) => side.subarray(0, rows * this.vocabulary)
}
