// What runs share that prune one model to several sizes: values of steps, and the dense stream of the calibration.
import { UsageError } from '../base/errors.ts'
import { elements } from '../formats/tensors.ts'
import type { Recall } from '../forward/stream.ts'
import { asBytes, type Scratch } from '../output/activations.ts'
import { type Saved, savedBy } from '../output/steps.ts'

/** The dense stream after each half-block, in a scratch file as far as it has room: one run writes, the next read. */
export class DenseRows {
  /** Bytes by half-block and batch. */
  readonly #places = new Map<string, number>()
  #scratch?: Promise<Scratch>
  #room = 0
  #end = 0

  /** @param room bytes to take at most @param open what a file is opened by, where there is none yet */
  recall(room: number, open: () => Promise<Scratch>): Recall {
    this.#room = Math.max(this.#end, room)
    return async ({ output: { name } }, { start }, x, forward) => {
      const key = `${name} ${start}`
      const place = this.#places.get(key)
      if (place !== undefined) return (await this.#scratch!).read(asBytes(x.data), place)
      await forward()
      const at = this.#end
      const bytes = 4 * elements(x.shape)
      if (at + bytes > this.#room) return // it is computed again
      try {
        const scratch = await (this.#scratch ??= open())
        await scratch.write(asBytes(x.data), at)
      } catch {
        this.#room = 0 // the disk is full by now
        return
      }
      this.#places.set(key, at)
      this.#end = at + bytes
    }
  }

  /** Gives its file back. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#places.clear()
    this.#end = 0
    const scratch = await this.#scratch?.catch(() => undefined)
    this.#scratch = undefined
    await scratch?.close()
  }
}

/** Steps that depend on no sparsity. */
const COMMON = /^(calibration|dense statistics|sensitivities|perplexity of the dense model)/

/** What depends on no sparsity, for runs that differ in nothing else: what steps gave, and the dense stream. */
export class CommonSteps {
  /** Of the runs' calibration windows. */
  readonly dense = new DenseRows()
  readonly #values = new Map<string, unknown>()
  #of?: string
  #model?: Promise<string>

  /** The hash of the model, made once: outputs may go into its folder. */
  hash(make: () => Promise<string>): Promise<string> {
    return (this.#model ??= make())
  }

  /** @param run what it is, but for the sparsity @throws UsageError where that is another than of the runs before */
  with(saved: Saved, run: string): Saved {
    if ((this.#of ??= run) !== run)
      throw new UsageError('runs have steps in common only where they differ in the sparsity and the output alone.')
    const values = this.#values
    return savedBy(saved, async function* (name, doing) {
      if (!COMMON.test(name)) return yield* saved.step(name, doing)
      const known = values.has(name) && (async () => values.get(name))
      const value = yield* saved.step(name, (known || doing) as typeof doing)
      values.set(name, value)
      return value
    })
  }

  /** Gives its file back. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dense[Symbol.asyncDispose]()
  }
}
