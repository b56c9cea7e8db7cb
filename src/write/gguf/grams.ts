// The Gram matrix of a weight: XᵀX of what its layer reads on the calibration text, where pruning kept it. Exports are
// rounded by it (gptq.ts) and checked by it (../verify/verify.ts).
import { FormatError } from '../../base/errors.ts'
import { isJsonObject } from '../../base/json.ts'
import type { Floats } from '../../formats/tensors.ts'
import { ffnHalves } from '../../model/architecture.ts'
import { plainHalves } from '../../model/half-block.ts'
import type { Model } from '../../model/model.ts'

/** Reads the matrix [in, in] of a weight; undefined where it was not kept. @throws FormatError for another size */
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
      `has ${gram.length} numbers for ${layer.first}, which reads ${layer.size} columns; wanted is their square. ` +
        'Remove this folder, or prune again',
    )
  }
}

/**
 * Output layers of experts that pruning repaired, by what `fasp.json` says. Their matrices are not kept: matrices of
 * 128 experts take more room than the model.
 */
export function repairedExperts({ checkpoint: { recipe }, architecture }: Model): Set<string> {
  const object = (value: unknown) => (isJsonObject(value) ? value : {})
  const { restore, target, alpha } = object(recipe?.options)
  const { before, after } = object(recipe?.widths)
  if (restore !== true || !Array.isArray(after)) return new Set()
  const narrower = (widths: unknown) =>
    ['ffn', 'experts'].some(of => Number(object(widths)[of]) < Number(object(before)[of]))
  const first = target === 'dense' && Number(alpha) > 0 ? after.findIndex(narrower) : -1
  const repaired = (layer: number) => narrower(after[layer]) || (first >= 0 && layer > first) // as `pruneMixture`
  const halves = ffnHalves(architecture).filter(({ experts, layer }) => experts && repaired(layer))
  return new Set(halves.flatMap(plainHalves).map(({ output }) => output.name))
}
