// Which neurons or value channels of a half-block stay, by the method that the options name, and the columns that go with them.
import type { HalfWeights } from '../blocks/halfblock.ts'
import type { Statistics } from '../calibrate/gram.ts'
import type { Engine } from '../engine/engine.ts'
import type { Architecture, Widths } from '../model/architecture.ts'
import { columnsOfRow, columnsOfRows, groupScores } from '../model/coupling.ts'
import { columnScores } from '../score/column.ts'
import { eliminate } from './eliminate.ts'
import type { Rotation } from './rotate.ts'
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

/** @param rotation that of the value channels, where weights and statistics are in its basis */
export async function selectKept(
  engine: Engine,
  a: Architecture,
  { half, output }: HalfWeights,
  statistics: Statistics,
  { ffn, value }: Widths,
  { score, vo, damp, center }: SelectOptions,
  rotation?: Rotation,
): Promise<Selection> {
  const isFfn = half.kind === 'ffn'
  const columns = (kept: Int32Array<ArrayBuffer>) => (isFfn ? kept : columnsOfRows(a, kept))
  if (score === 'eliminate' && !rotation) {
    const groups = Array.from({ length: isFfn ? a.ffnWidth : a.kvHeads * a.headSize }, (_, row) =>
      isFfn ? [row] : columnsOfRow(a, row),
    )
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
    return { scores, kept, columns: columns(kept) }
  }
  const ofColumns = () => columnScores(output.weight, statistics)
  const scores = rotation?.scores ?? (isFfn ? ofColumns() : groupScores(a, ofColumns()))
  const kept = isFfn
    ? keepTop(scores, ffn)
    : vo === 'ragged'
      ? keepTop(scores, value * a.kvHeads)
      : keepTopPerGroup(scores, a.kvHeads, value)
  return { scores, kept, columns: columns(kept) }
}
