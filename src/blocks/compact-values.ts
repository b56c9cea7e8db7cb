// Compact checkpoints store fewer value channels than query channels. The attention operator wants as many, so rows and columns of
// zeros take the places that are missing: a channel of zeros adds nothing to the output.
import { type Architecture, widthsOf } from '../model/architecture.ts'
import type { HalfWeights, LinearWeights } from './halfblock.ts'

type Floats = Float32Array<ArrayBuffer>

/** Attention weights with `headSize` value channels in every head; the same object where that is so already. */
export function withAllValues(a: Architecture, weights: HalfWeights): HalfWeights {
  const { values } = widthsOf(a, weights.half.layer)
  if (values.every(n => n === a.headSize)) return weights
  const [q, k, v] = weights.inputs
  const columns = values.flatMap(n => new Array<number>(a.heads / a.kvHeads).fill(n)) // of each query head
  const value: LinearWeights = {
    weight: spreadRows(v.weight, values, a.headSize, a.hiddenSize),
    bias: v.bias && spreadRows(v.bias, values, a.headSize, 1),
  }
  const { weight, bias } = weights.output
  return {
    ...weights,
    inputs: [q, k, value],
    output: { weight: spreadColumns(weight, columns, a.headSize, a.hiddenSize), bias },
  }
}

/** [Σ counts, width] → [counts.length · size, width]: `counts[g]` rows, then zeros, for each g. */
function spreadRows(rows: Floats, counts: readonly number[], size: number, width: number): Floats {
  const spread = new Float32Array(counts.length * size * width)
  let at = 0
  for (const [g, count] of counts.entries()) {
    spread.set(rows.subarray(at * width, (at + count) * width), g * size * width)
    at += count
  }
  return spread
}

/** [rows, Σ counts] → [rows, counts.length · size]. */
function spreadColumns(matrix: Floats, counts: readonly number[], size: number, rows: number): Floats {
  const spread = new Float32Array(rows * counts.length * size)
  let at = 0
  for (let row = 0; row < rows; row++)
    for (const [g, count] of counts.entries()) {
      spread.set(matrix.subarray(at, at + count), (row * counts.length + g) * size)
      at += count
    }
  return spread
}
