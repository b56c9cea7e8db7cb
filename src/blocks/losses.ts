// How well the model predicts its windows: the negative log-likelihood of each token after the first.
import { values } from '../engine/engine.ts'
import { HEAD_ROWS, type Head } from './decoder.ts'
import { lossGraph } from './head.ts'

/** Mean negative log-likelihood of each window, from the stream after the last layer. */
export async function windowLosses(
  head: Head,
  stream: Float32Array<ArrayBuffer>,
  windows: readonly Int32Array[],
): Promise<number[]> {
  const { hiddenSize: d, vocabularySize } = head.model.architecture
  const buffer = new Float32Array(HEAD_ROWS * vocabularySize)
  const losses: number[] = []
  for (const [w, ids] of windows.entries()) {
    let sum = 0
    const targets = ids.length - 1
    for (let from = 0; from < targets; from += HEAD_ROWS) {
      const n = Math.min(HEAD_ROWS, targets - from)
      const start = w * ids.length + from
      const logits = buffer.subarray(0, n * vocabularySize)
      await head.logits(stream.subarray(start * d, (start + n) * d), logits)
      const nll = new Float32Array(n)
      const next = BigInt64Array.from(ids.subarray(from + 1, from + 1 + n), BigInt)
      const feeds = { logits: values(logits, [n, vocabularySize]), targets: values(next, [n, 1]) }
      await head.engine.run('loss', lossGraph, feeds, { nll: values(nll, [n, 1]) })
      for (const value of nll) sum += value
    }
    losses.push(sum / targets)
  }
  return losses
}
