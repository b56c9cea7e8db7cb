// Logits of every position of one sequence: for comparing with other implementations.
import { finish } from '../base/events.ts'
import type { Context } from '../forward/context.ts'
import { Head, headRows } from '../forward/head.ts'
import { forward } from '../forward/stream.ts'
import type { Model } from '../model/model.ts'

/** @returns [ids.length, vocabulary] row-major */
export async function logits(
  context: Context,
  model: Model,
  ids: ArrayLike<number>,
): Promise<Float32Array<ArrayBuffer>> {
  const { hiddenSize: d, vocabularySize } = model.architecture
  const data = await (await finish(forward(context, model, [Int32Array.from(ids)]))).whole()
  const head = await Head.open(model, context.engine)
  const result = new Float32Array(ids.length * vocabularySize)
  const most = headRows(model.architecture)
  for (let from = 0; from < ids.length; from += most) {
    const to = Math.min(ids.length, from + most)
    await head.logits(data.subarray(from * d, to * d), result.subarray(from * vocabularySize, to * vocabularySize))
  }
  return result
}
