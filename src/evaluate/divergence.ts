// How far a pruned model has moved from the dense one: mean KL(dense ‖ pruned) over the tokens of some windows, in nats per token.
import { HEAD_ROWS, Head } from '../blocks/decoder.ts'
import { Divergence } from '../blocks/divergence.ts'
import { lastStream } from '../blocks/stream.ts'
import type { Engine } from '../engine/engine.ts'
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
  const side = async (model: Model) => ({
    stream: await lastStream(model, engine, windows),
    head: await Head.open(model, engine),
  })
  const [p, q] = [await side(dense), await side(pruned)]
  const divergence = new Divergence(engine, vocabularySize)
  const tokens = windows.length * windows[0].length
  let sum = 0
  for (let from = 0; from < tokens; from += HEAD_ROWS) {
    const [start, end] = [from * d, Math.min(from + HEAD_ROWS, tokens) * d]
    await divergence.from(p.head, p.stream.subarray(start, end))
    sum += await divergence.to(q.head, q.stream.subarray(start, end))
  }
  return sum / tokens
}
