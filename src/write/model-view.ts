// A model seen as a model of another architecture. Its tensors are made of stored tensors when they are read: wider
// tensors (widen.ts) or parts of tensors (gguf/split-gate.ts).
import { pickRows } from '../engine/linalg/scatter.ts'
import { type FloatDType, fromFloat32, isDType } from '../formats/dtype.ts'
import type { Floats, TensorInfo, TensorSource } from '../formats/tensors.ts'
import { type Architecture, tensorShapes } from '../model/architecture.ts'
import type { Model } from '../model/model.ts'

/** What a tensor is made of: the one that is stored under a name, and what becomes of its values. */
export interface Move {
  readonly from: string
  readonly values: (stored: Floats) => Floats
}

/** @param moves by the name of a tensor, or of the layer that a Gram matrix belongs to; other tensors stay as stored */
export function viewed({ checkpoint }: Model, architecture: Architecture, moves: ReadonlyMap<string, Move>): Model {
  const { tensors: source, statistics } = checkpoint
  const stored = (name: string) => moves.get(name)?.from ?? name
  const tensors = new Map<string, TensorInfo>()
  for (const [name, shape] of tensorShapes(architecture))
    tensors.set(name, { ...source.tensors.get(stored(name))!, name, shape })
  const movedIn = (source: TensorSource) => async (name: string) => {
    const values = await source.float32(stored(name))
    return moves.get(name)?.values(values) ?? values
  }
  const float32 = movedIn(source)
  const seen = {
    ...source,
    tensors,
    float32,
    rows: async (name: string, ids: Int32Array) =>
      moves.has(name) ? pickRows(await float32(name), ids, tensors.get(name)!.shape[1]) : source.rows(name, ids),
    bytes: async (name: string) => {
      const { dtype } = tensors.get(name)!
      return moves.has(name) && isDType(dtype)
        ? fromFloat32(await float32(name), dtype as FloatDType)
        : source.bytes(stored(name))
    },
  }
  const grams = new Map(statistics?.tensors)
  for (const [name, { from }] of moves) if (grams.has(from)) grams.set(name, grams.get(from)!)
  const named = statistics && { ...statistics, tensors: grams, float32: movedIn(statistics) }
  return { checkpoint: { ...checkpoint, tensors: seen, statistics: named }, architecture }
}
