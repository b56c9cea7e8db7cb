// Which units of a half-block stay, by the score of the options, and their columns. Units are neurons, value channels
// with their query group, or KV heads with all query heads; the score of a unit is the sum over its columns.
import type { Engine } from '../../engine/engine.ts'
import type { HalfWeights } from '../../forward/weights.ts'
import type { Scope } from '../../model/architecture.ts'
import { columnGroups, columnsOfRows, headGroups, rowsOfHeads } from '../../model/coupling.ts'
import { fullWidth, type HalfBlock, type Widths } from '../../model/half-block.ts'
import { columnScores } from '../score/column.ts'
import { ownScores, type Score } from '../score/custom.ts'
import { fluctuationScores } from '../score/fluctuation.ts'
import { magnitudeScores } from '../score/magnitude.ts'
import { randomScores } from '../score/random.ts'
import { countedRows, type Statistics } from '../statistics/gram.ts'
import type { Moments } from '../statistics/moments.ts'
import { eliminate } from './eliminate.ts'
import { allColumns, keepTop, keepTopPerGroup } from './top.ts'

export interface Selection {
  /** Of neurons, value rows, or KV heads. Undefined where there was no choice. */
  readonly scores?: Float64Array
  /** The neurons or value rows that stay, ascending. */
  readonly kept: Int32Array<ArrayBuffer>
  /** Their input columns of the output layer, ascending. */
  readonly columns: Int32Array<ArrayBuffer>
  /** The damping of the elimination; as asked for where nothing was factored. */
  readonly damp: number
}

export interface SelectOptions {
  readonly scope: Scope
  readonly score: 'column' | 'eliminate' | 'magnitude' | 'random' | 'fluctuation' | 'custom'
  /** The function of `custom`. */
  readonly own?: { readonly score?: Score }
  readonly vo: 'ragged' | 'per-head' | 'rotate'
  readonly damp: number
  readonly shrinkage: number
  readonly center: boolean
  readonly seed: number
}

/** A half-block with its statistics. */
export interface Candidates {
  readonly weights: HalfWeights
  readonly statistics: Statistics
  /** Of H in the dense model, where the method asks for it. */
  readonly dense?: Moments
  /** Of rotated value rows, descending in each KV head. */
  readonly scores?: Float64Array<ArrayBuffer>
}

export async function selectKept(
  engine: Engine,
  seen: Candidates,
  { ffn, value, kvHeads }: Widths,
  options: SelectOptions,
): Promise<Selection> {
  const { half, output } = seen.weights
  const heads = half.kind === 'attention' ? half.kvHeads : 0
  const wholeHeads = heads > 0 && options.scope === 'ffn+heads'
  const units = half.kind === 'attention' && wholeHeads ? headGroups(half) : columnGroups(half)
  const keep = heads === 0 ? ffn : wholeHeads ? (kvHeads ?? heads) : value * heads
  const perHead = heads > 0 && !wholeHeads && options.vo !== 'ragged'
  const selected = async () => {
    if (options.score === 'eliminate' && !seen.scores) {
      const classes = perHead ? { size: fullWidth(half), keep: value } : undefined
      const center = options.center && output.bias !== undefined
      const { damp, shrinkage } = options
      const eliminating = { damp, shrinkage, center, layer: half.output.name, classes }
      return eliminate(engine, output.weight, seen.statistics, units, keep, eliminating)
    }
    const scores = seen.scores ?? unitScores(units, scoresOf(seen, options))
    const { damp } = options
    return { scores, damp, kept: perHead ? keepTopPerGroup(scores, heads, value) : keepTop(scores, keep) }
  }
  const { scores, damp, kept: keptUnits } = await selected()
  if (half.kind === 'ffn') return { scores, damp, kept: keptUnits, columns: keptUnits }
  const kept = wholeHeads ? rowsOfHeads(half, keptUnits) : keptUnits
  return { scores, damp, kept, columns: columnsOfRows(half, kept) }
}

/** For a half-block that is not cut. */
export function keepAll(half: HalfBlock): Selection {
  const columns = allColumns(half.output.in)
  return { kept: half.kind === 'ffn' ? columns : allColumns(half.kvHeads * half.headSize), columns, damp: 0 }
}

/** Scores of the columns. */
function scoresOf(
  { weights, statistics, dense }: Candidates,
  { score, own, seed }: SelectOptions,
): Float64Array<ArrayBuffer> {
  if (score === 'custom') return ownScores(own!.score!, weights, statistics)
  const { weight } = weights.output
  if (score === 'magnitude') return magnitudeScores(weight, statistics.width)
  if (score === 'fluctuation') return fluctuationScores(weight, dense!, weights.half)
  if (score === 'random') return randomScores(seed, weights.half, statistics.width)
  return columnScores(countedRows(weight, statistics), statistics)
}

const unitScores = (units: readonly (readonly number[])[], columns: Float64Array): Float64Array<ArrayBuffer> =>
  Float64Array.from(units, unit => unit.reduce((sum, column) => sum + columns[column], 0))
