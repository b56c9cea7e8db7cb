// Logits of every position of one sequence: for comparing with other implementations.

import type { Engine } from '../engine/engine.ts'
import { Head, headRows } from '../forward/head.ts'
import { lastStream } from '../forward/stream.ts'
import type { Model } from '../model/model.ts'

/** @returns [ids.length, vocabulary] row-major */
export async function logits(model: Model, engine: Engine, ids: ArrayLike<number>): Promise<Float32Array<ArrayBuffer>> {
  const { hiddenSize: d, vocabularySize } = model.architecture
  const data = await lastStream(model, engine, [Int32Array.from(ids)])
  const head = await Head.open(model, engine)
  const result = new Float32Array(ids.length * vocabularySize)
  const most = headRows(model.architecture)
  for (let from = 0; from < ids.length; from += most) {
    const to = Math.min(ids.length, from + most)
    await head.logits(data.subarray(from * d, to * d), result.subarray(from * vocabularySize, to * vocabularySize))
  }
  return result
}
