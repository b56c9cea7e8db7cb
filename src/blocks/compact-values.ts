// Compact checkpoints store fewer value channels than query channels. The attention operator wants as many, so rows and columns of
// zeros take the places that are missing: a channel of zeros adds nothing to the output.
import { scatterColumns, scatterRows } from '../linalg/scatter.ts'
import { type Architecture, widthsOf } from '../model/architecture.ts'
import { columnsOfRows, firstValueRows } from '../model/coupling.ts'
import type { HalfWeights, LinearWeights } from './halfblock.ts'

/** Attention weights with `headSize` value channels in every head; the same object where that is so already. */
export function withAllValues(a: Architecture, weights: HalfWeights): HalfWeights {
  const { values } = widthsOf(a, weights.half.layer)
  if (values.every(n => n === a.headSize)) return weights
  const [q, k, v] = weights.inputs
  const rows = firstValueRows(a, values)
  const all = a.kvHeads * a.headSize
  const value: LinearWeights = {
    weight: scatterRows(v.weight, rows, all, a.hiddenSize),
    bias: v.bias && scatterRows(v.bias, rows, all, 1),
  }
  const { weight, bias } = weights.output
  const wide = scatterColumns(weight, columnsOfRows(a, rows), a.heads * a.headSize)
  return { ...weights, inputs: [q, k, value], output: { weight: wide, bias } }
}
