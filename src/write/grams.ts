// Which Gram matrix belongs to a weight: that of what its layer reads on the calibration text, where pruning left it beside the model. Exports
// round by it (gptq.ts), and are checked by it (export/verify.ts).
import { FormatError } from '../errors.ts'
import type { Floats } from '../formats/tensors.ts'
import type { Model } from '../model/model.ts'

/** Reads the matrix [in, in] of a weight; undefined where there is none. @throws FormatError where it has another size */
export function gramReader({ checkpoint, architecture }: Model): (weight: string) => Promise<Floats | undefined> {
  const { name, statistics } = checkpoint
  const layers = new Map(
    architecture.halves.flatMap(({ inputs, output }) =>
      [...inputs, output].map(l => [`${l.name}.weight`, { first: l === output ? l.name : inputs[0].name, size: l.in }]),
    ),
  )
  return async weight => {
    const layer = layers.get(weight)
    if (!layer || !statistics?.tensors.has(layer.first)) return undefined
    const gram = await statistics.float32(layer.first)
    if (gram.length === layer.size ** 2) return gram
    throw new FormatError(
      `${name}/statistics`,
      `has ${gram.length} numbers for ${layer.first}, which reads ${layer.size} columns; wanted is their square. Remove this folder, or prune again`,
    )
  }
}
