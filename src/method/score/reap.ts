// Which experts of a mixture matter (REAP, arXiv 2510.13999): S_e = mean over the tokens that go to e of ‖g_e f_e(x)‖; 0 where none do.
import { ALONE } from '../../ranks/group.ts'

export class ExpertScores {
  readonly #sums: Float64Array<ArrayBuffer>
  readonly #tokens: Float64Array<ArrayBuffer>

  constructor(experts: number) {
    this.#sums = new Float64Array(experts)
    this.#tokens = new Float64Array(experts)
  }

  /** @param norms of what an expert gives for tokens that go to it, times their gates */
  add(expert: number, norms: readonly number[]): void {
    for (const norm of norms) this.#sums[expert] += norm
    this.#tokens[expert] += norms.length
  }

  /** @param group each rank has one, of its part of the tokens */
  async finish(group = ALONE): Promise<Float64Array<ArrayBuffer>> {
    await group.sum(this.#sums, this.#tokens)
    return Float64Array.from(this.#sums, (sum, e) => sum / Math.max(1, this.#tokens[e]))
  }
}
