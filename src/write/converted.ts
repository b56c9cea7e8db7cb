// Tensors that nothing is removed from, in another type.
import type { FloatDType } from '../formats/dtype.ts'
import { encode } from '../formats/encode.ts'
import { type Model, readRows, readWeights } from '../model/model.ts'

/** What is converted at once, in bytes of float32. */
const PART_BYTES = 16 * 2 ** 20

/** A tensor of the model in `dtype`; tables outside the layers in parts, as in float32 one can be larger than all else that is in memory. */
export async function* converted(
  model: Model,
  name: string,
  dtype: FloatDType,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const { shape } = model.checkpoint.tensors.tensors.get(name)!
  const inLayer = name.startsWith(`${model.architecture.names.layers}.`)
  if (inLayer || shape.length !== 2) return yield encode(name, await readWeights(model, name), dtype)
  const [rows, width] = shape
  const most = Math.ceil(PART_BYTES / (4 * width))
  for (let first = 0; first < rows; first += most) {
    const ids = Int32Array.from({ length: Math.min(most, rows - first) }, (_, i) => first + i)
    yield encode(name, await readRows(model, name, ids), dtype)
  }
}
