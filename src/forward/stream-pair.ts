// The streams of the pruned and of the dense model, which are one until something is cut: for calibration windows with
// a dense target, and for windows that losses are measured on.
import type { Activations } from '../output/activations.ts'
import { heldBy, type Recall, type Stream } from './stream.ts'
import type { HalfWeights } from './weights.ts'

export class Twins {
  #dense?: Stream

  /** @param recall of the dense stream */
  constructor(
    readonly pruned: Stream,
    readonly recall?: Recall,
  ) {}

  /** Undefined while both are one. */
  get dense(): Stream | undefined {
    return this.#dense
  }

  /** Both go through a half-block that is the same in both models. */
  async through(weights: HalfWeights): Promise<void> {
    await this.#dense?.through(weights)
    await this.pruned.through(weights)
  }

  /** The dense stream alone goes through a half-block, which the pruned model lacks or has with other weights. */
  async throughDense(weights: HalfWeights): Promise<void> {
    this.#dense ??= await this.pruned.fork(this.recall)
    await this.#dense.through(weights)
  }

  /** All that both hold, by name. @param names opens what does not exist yet */
  async held(names: readonly string[] = []): Promise<Map<string, Activations>> {
    if (names.includes('dense')) this.#dense ??= await this.pruned.fork(this.recall)
    return heldBy({ pruned: this.pruned, dense: this.#dense }, names)
  }
}
