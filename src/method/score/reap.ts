// Which experts matter (REAP, arXiv 2510.13999): S_e = mean of ‖g_e f_e(x)‖ over the tokens that go to e, 0 without
// any.
import { ALONE } from '../../ranks/group.ts'

export class ExpertScores {
  readonly #sums: Float64Array<ArrayBuffer>
  readonly #tokens: Float64Array<ArrayBuffer>

  constructor(experts: number) {
    this.#sums = new Float64Array(experts)
    this.#tokens = new Float64Array(experts)
  }

  /** @param norms of the expert's outputs times gates */
  add(expert: number, norms: readonly number[]): void {
    for (const norm of norms) this.#sums[expert] += norm
    this.#tokens[expert] += norms.length
  }

  async finish(group = ALONE): Promise<Float64Array<ArrayBuffer>> {
    await group.sum(this.#sums, this.#tokens)
    return Float64Array.from(this.#sums, (sum, e) => sum / Math.max(1, this.#tokens[e]))
  }
}
