// Which neurons or value channels of a half-block stay, by the method that the options name, and the columns that go with them.
import type { HalfWeights } from '../blocks/halfblock.ts'
import type { Statistics } from '../calibrate/gram.ts'
import type { Engine } from '../engine/engine.ts'
import type { Architecture, Widths } from '../model/architecture.ts'
import { columnGroups, columnsOfRows, groupScores } from '../model/coupling.ts'
import { columnScores } from '../score/column.ts'
import { eliminate } from './eliminate.ts'
import { keepTop, keepTopPerGroup } from './top.ts'

export interface Selection {
  /** Of neurons, or of value rows. */
  readonly scores: Float64Array
  /** The neurons or value rows that stay, ascending. */
  readonly kept: Int32Array<ArrayBuffer>
  /** The input columns of the output layer that go with them, ascending. */
  readonly columns: Int32Array<ArrayBuffer>
}

export interface SelectOptions {
  readonly score: 'column' | 'eliminate'
  readonly vo: 'ragged' | 'per-head' | 'rotate'
  readonly damp: number
  readonly center: boolean
}

/** A half-block with what was observed of it. */
export interface Candidates {
  readonly weights: HalfWeights
  readonly statistics: Statistics
  /** Of the value rows, where they were rotated: each KV head's own, descending. */
  readonly scores?: Float64Array<ArrayBuffer>
}

export async function selectKept(
  engine: Engine,
  a: Architecture,
  { weights, statistics, scores: given }: Candidates,
  { ffn, value }: Widths,
  { score, vo, damp, center }: SelectOptions,
): Promise<Selection> {
  const { half, output } = weights
  const isFfn = half.kind === 'ffn'
  const chosen = (scores: Float64Array, kept: Int32Array<ArrayBuffer>) => ({
    scores,
    kept,
    columns: isFfn ? kept : columnsOfRows(a, kept),
  })
  if (score === 'eliminate' && !given) {
    const groups = columnGroups(a, half)
    const { scores, kept } = await eliminate(
      engine,
      output.weight,
      statistics,
      groups,
      isFfn ? ffn : value * a.kvHeads,
      {
        damp,
        center: center && output.bias !== undefined,
        layer: half.output.name,
        classes: isFfn || vo === 'ragged' ? undefined : { size: a.headSize, keep: value },
      },
    )
    return chosen(scores, kept)
  }
  const ofColumns = () => columnScores(output.weight, statistics)
  if (isFfn) {
    const scores = ofColumns()
    return chosen(scores, keepTop(scores, ffn))
  }
  const scores = given ?? groupScores(a, ofColumns())
  return chosen(
    scores,
    vo === 'ragged' ? keepTop(scores, value * a.kvHeads) : keepTopPerGroup(scores, a.kvHeads, value),
  )
}
