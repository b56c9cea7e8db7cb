// From the stream after the last layer to −log p of the next tokens.
import { type Values, values } from '../engine/engine.ts'
import { rowsOf } from '../engine/values.ts'
import type { Floats } from '../formats/tensors.ts'
import { lossGraph } from '../graphs/head.ts'
import { type Head, headRows } from './head.ts'

/**
 * Sees rows of the stream after the last layer `x` [n, d] and their logits [n, vocabulary] before the losses.
 * @param first index of the first row, counted over all windows, L − 1 in each
 */
export type RowObserver = (first: number, x: Values<Floats>, logits: Values<Floats>) => Promise<void>

export class TokenLosses {
  readonly #room: Floats

  constructor(readonly head: Head) {
    this.#room = head.room()
  }

  /** −log p of `targets` [n ≤ headRows] after the stream rows `x` [n, d], in nats. */
  async of(
    x: Values<Floats>,
    targets: Int32Array,
    observe?: (logits: Values<Floats>) => Promise<void>,
  ): Promise<Floats> {
    const n = targets.length
    const logits = await this.head.logitsIn(this.#room, x)
    await observe?.(logits)
    const nll = new Float32Array(n)
    const next = BigInt64Array.from(targets, BigInt)
    const feeds = { logits, targets: values(next, [n, 1]) }
    await this.head.engine.run('loss', lossGraph, feeds, { nll: values(nll, [n, 1]) })
    logits.drop?.()
    return nll
  }
}

/** Mean negative log-likelihood of each window, from the last layer's stream. @param first index of the first window */
export async function windowLosses(
  tokenLosses: TokenLosses,
  stream: Values<Floats>,
  windows: readonly Int32Array[],
  observe?: RowObserver,
  first = 0,
): Promise<number[]> {
  const most = headRows(tokenLosses.head.model.architecture)
  const losses: number[] = []
  for (const [w, ids] of windows.entries()) {
    let sum = 0
    const targets = ids.length - 1
    for (let from = 0; from < targets; from += most) {
      const to = Math.min(from + most, targets)
      const start = w * ids.length
      const x = rowsOf(stream, start + from, start + to)
      const seen = observe && ((logits: Values<Floats>) => observe((first + w) * targets + from, x, logits))
      for (const value of await tokenLosses.of(x, ids.subarray(from + 1, to + 1), seen)) sum += value
    }
    losses.push(sum / targets)
  }
  return losses
}
