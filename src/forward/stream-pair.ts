// The streams of the pruned and of the dense model. Until something is cut they are one; then the dense one goes its own way. So it is for
// the windows that are calibrated on, where there is a dense target, and for those that losses are measured on.

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

  /** Undefined as long as both are one. */
  get dense(): Stream | undefined {
    return this.#dense
  }

  /** Both go through a half-block that is the same in both models. */
  async through(weights: HalfWeights): Promise<void> {
    await this.#dense?.through(weights)
    await this.pruned.through(weights)
  }

  /** The dense stream goes through a half-block that the pruned model has otherwise, or lacks; the pruned one stays before it. */
  async throughDense(weights: HalfWeights): Promise<void> {
    this.#dense ??= await this.pruned.fork(this.recall)
    await this.#dense.through(weights)
  }

  /** All that both hold, by name. @param names also those of these that are not there yet */
  async held(names: readonly string[] = []): Promise<Map<string, Activations>> {
    if (names.includes('dense')) this.#dense ??= await this.pruned.fork(this.recall)
    return heldBy({ pruned: this.pruned, dense: this.#dense }, names)
  }
}
