// From the stream after the last layer to −log p of the next tokens.

import { values } from '../engine/engine.ts'
import type { Floats } from '../formats/tensors.ts'
import { lossGraph } from '../graphs/head.ts'
import { type Head, headRows } from './head.ts'

/**
 * Sees the rows that the losses come from on their way: the stream after the last layer `x` [n, d] and its logits [n, vocabulary].
 * @param first number of the first row, counted over all windows, L − 1 in each
 */
export type RowObserver = (first: number, x: Floats, logits: Floats) => Promise<void>

/** A head with room for `headRows` rows of logits. */
export class TokenLosses {
  readonly #logits: Floats

  constructor(readonly head: Head) {
    const a = head.model.architecture
    this.#logits = new Float32Array(headRows(a) * a.vocabularySize)
  }

  /** −log p of `targets` [n ≤ headRows] after the stream rows `x` [n, d], in nats. */
  async of(x: Floats, targets: Int32Array, observe?: (logits: Floats) => Promise<void>): Promise<Floats> {
    const { engine, model } = this.head
    const n = targets.length
    const { vocabularySize } = model.architecture
    const logits = this.#logits.subarray(0, n * vocabularySize)
    await this.head.logits(x, logits)
    await observe?.(logits)
    const nll = new Float32Array(n)
    const next = BigInt64Array.from(targets, BigInt)
    const feeds = { logits: values(logits, [n, vocabularySize]), targets: values(next, [n, 1]) }
    await engine.run('loss', lossGraph, feeds, { nll: values(nll, [n, 1]) })
    return nll
  }
}

/** Mean negative log-likelihood of each window, from the stream after the last layer. */
export async function windowLosses(
  head: Head,
  stream: Floats,
  windows: readonly Int32Array[],
  observe?: RowObserver,
): Promise<number[]> {
  const a = head.model.architecture
  const d = a.hiddenSize
  const most = headRows(a)
  const tokenLosses = new TokenLosses(head)
  const losses: number[] = []
  for (const [w, ids] of windows.entries()) {
    let sum = 0
    const targets = ids.length - 1
    for (let from = 0; from < targets; from += most) {
      const to = Math.min(from + most, targets)
      const start = w * ids.length
      const x = stream.subarray((start + from) * d, (start + to) * d)
      const seen = observe && ((logits: Floats) => observe(w * targets + from, x, logits))
      for (const value of await tokenLosses.of(x, ids.subarray(from + 1, to + 1), seen)) sum += value
    }
    losses.push(sum / targets)
  }
  return losses
}
