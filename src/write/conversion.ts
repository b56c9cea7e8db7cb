// Tensors that nothing is removed from, in another type, and the parts in which large ones are read.
import type { FloatDType } from '../formats/dtype.ts'
import { encode } from '../formats/encode.ts'
import { rowParts } from '../formats/rows.ts'
import type { Floats } from '../formats/tensors.ts'
import { type Model, readRows, readWeights } from '../model/model.ts'

/** What is converted at once, in bytes of float32. */
const PART_BYTES = 16 * 2 ** 20

/**
 * Rows of a tensor that are read together; undefined means all rows. A table outside the layers is read in parts: in
 * float32 it can be larger than everything else in memory.
 */
export function* partsOf({ checkpoint, architecture }: Model, name: string): Generator<Int32Array | undefined> {
  const { shape } = checkpoint.tensors.tensors.get(name)!
  const inLayer = name.startsWith(`${architecture.names.layers}.`)
  if (inLayer || shape.length !== 2) return yield undefined
  yield* rowParts(shape[0], shape[1], PART_BYTES)
}

/** @param rows of `partsOf` @throws as `readWeights` */
export const readPart = (model: Model, name: string, rows: Int32Array | undefined): Promise<Floats> =>
  rows ? readRows(model, name, rows) : readWeights(model, name)

/** A tensor of the model in `dtype`, part by part. */
export async function* converted(
  model: Model,
  name: string,
  dtype: FloatDType,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (const rows of partsOf(model, name)) yield encode(name, await readPart(model, name, rows), dtype)
}
