// Which neurons or value channels of a half-block stay, by the method that the options name, and the columns that go with them.
import type { HalfWeights } from '../blocks/halfblock.ts'
import type { Statistics } from '../calibrate/gram.ts'
import type { Architecture, Widths } from '../model/architecture.ts'
import { columnsOfRows, groupScores } from '../model/coupling.ts'
import { columnScores } from '../score/column.ts'
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

/** @param rotation that of the value channels, where weights and statistics are in its basis */
export function selectKept(
  a: Architecture,
  { half, output }: HalfWeights,
  statistics: Statistics,
  { ffn, value }: Widths,
  { vo }: { readonly vo: 'ragged' | 'per-head' | 'rotate' },
  rotation?: Rotation,
): Selection {
  if (half.kind === 'ffn') {
    const scores = columnScores(output.weight, statistics)
    const kept = keepTop(scores, ffn)
    return { scores, kept, columns: kept }
  }
  const scores = rotation?.scores ?? groupScores(a, columnScores(output.weight, statistics))
  const kept = vo === 'ragged' ? keepTop(scores, value * a.kvHeads) : keepTopPerGroup(scores, a.kvHeads, value)
  return { scores, kept, columns: columnsOfRows(a, kept) }
}
