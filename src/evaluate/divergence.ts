// How far a pruned model has moved from the dense one: mean KL(dense ‖ pruned) over the tokens of some windows, in nats per token.
import { HEAD_ROWS, Head } from '../blocks/decoder.ts'
import { divergenceGraph } from '../blocks/head.ts'
import { lastStream } from '../blocks/stream.ts'
import { type Engine, values } from '../engine/engine.ts'
import { UsageError } from '../errors.ts'
import type { Model } from '../model/model.ts'

/** @throws UsageError where the models have different vocabularies */
export async function klDivergence(
  dense: Model,
  pruned: Model,
  engine: Engine,
  windows: readonly Int32Array[],
): Promise<number> {
  const { hiddenSize: d, vocabularySize } = dense.architecture
  if (pruned.architecture.vocabularySize !== vocabularySize)
    throw new UsageError(
      `the models have vocabularies of ${vocabularySize} and ${pruned.architecture.vocabularySize}; KL needs the same.`,
    )
  const sides = []
  for (const model of [dense, pruned])
    sides.push({
      stream: await lastStream(model, engine, windows),
      head: await Head.open(model, engine),
      buffer: new Float32Array(HEAD_ROWS * vocabularySize),
    })
  const tokens = windows.length * windows[0].length
  let sum = 0
  for (let from = 0; from < tokens; from += HEAD_ROWS) {
    const n = Math.min(HEAD_ROWS, tokens - from)
    for (const { stream, head, buffer } of sides)
      await head.logits(stream.subarray(from * d, (from + n) * d), buffer.subarray(0, n * vocabularySize))
    const [logits, others] = sides.map(s => values(s.buffer.subarray(0, n * vocabularySize), [n, vocabularySize]))
    const kl = new Float32Array(n)
    await engine.run('divergence', divergenceGraph, { logits, others }, { kl: values(kl, [n, 1]) })
    for (const value of kl) sum += value
  }
  return sum / tokens
}
