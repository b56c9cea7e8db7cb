// Tensors that are computed, not stored.
import { pickRows } from '../engine/linalg/scatter.ts'
import { fromFloat32 } from '../formats/dtype.ts'
import type { TensorInfo, TensorSource } from '../formats/tensors.ts'

/** A source of float32 tensors of these shapes, in which every way of reading gives what `float32` gives. */
export function floatSource(
  shapes: Iterable<readonly [name: string, shape: readonly number[]]>,
  float32: TensorSource['float32'],
): TensorSource {
  const tensors = new Map(
    [...shapes].map(([name, shape]): [string, TensorInfo] => [name, { name, shape, dtype: 'F32' }]),
  )
  return {
    tensors,
    float32,
    bytes: async name => fromFloat32(await float32(name), 'F32'),
    rows: async (name, ids) => pickRows(await float32(name), ids, tensors.get(name)!.shape[1]),
    close: async () => {},
  }
}
