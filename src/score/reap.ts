// Which experts of a mixture matter (REAP, arXiv 2510.13999): S_e = mean over the tokens that go to e of ‖g_e f_e(x)‖; 0 where none do.
import type { Floats } from '../formats/tensors.ts'
import { ALONE } from '../group/group.ts'
import { dot } from '../linalg/sums.ts'

export class ExpertScores {
  readonly #sums: Float64Array<ArrayBuffer>
  readonly #tokens: Float64Array<ArrayBuffer>

  /** @param d what experts give for a token */
  constructor(
    experts: number,
    readonly d: number,
  ) {
    this.#sums = new Float64Array(experts)
    this.#tokens = new Float64Array(experts)
  }

  /** @param outputs of an expert, times the gates, on tokens that go to it [tokens, d] */
  add(expert: number, outputs: Floats): void {
    for (let from = 0; from < outputs.length; from += this.d) {
      const row = outputs.subarray(from, from + this.d)
      this.#sums[expert] += Math.sqrt(dot(row, row))
      this.#tokens[expert]++
    }
  }

  /** @param group each rank has one, of its part of the tokens */
  async finish(group = ALONE): Promise<Float64Array<ArrayBuffer>> {
    await group.sum(this.#sums, this.#tokens)
    return Float64Array.from(this.#sums, (sum, e) => sum / Math.max(1, this.#tokens[e]))
  }
}
