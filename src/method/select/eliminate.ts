// Backward elimination: columns go in rounds, those first whose loss is least once the others have made up for it, and what stays is
// repaired after each round: downdates of P = (G + δI)⁻¹ and of W as repaired so far (engine/linalg/downdate.ts).
// (Optimal Brain Surgeon: Hassibi & Stork, NeurIPS 1992; for layers, Frantar & Alistarh, NeurIPS 2022; OSSCAR, arXiv 2403.12983, searches
// on from there.) The error includes δ‖W' − W‖², as that of the restoration does; both end at the same weights. Columns that only go
// together, those of a value channel's query group, are one group: r columns instead of one.

import { NumericError } from '../../base/errors.ts'
import type { Engine } from '../../engine/engine.ts'
import type { RowReader } from '../../engine/linalg/cholesky.ts'
import { downdate } from '../../engine/linalg/downdate.ts'
import { type Matrix, matrix } from '../../engine/linalg/matrix.ts'
import { transposed } from '../../engine/linalg/scatter.ts'
import type { Floats } from '../../formats/tensors.ts'
import { countedRows, type Statistics } from '../statistics/gram.ts'
import { factorDamped, type SystemOptions } from '../statistics/system.ts'
import { allColumns } from './top.ts'

export interface Elimination {
  /** Groups that stay, ascending. */
  readonly kept: Int32Array<ArrayBuffer>
  /** Groups that went, round after round. */
  readonly order: Int32Array<ArrayBuffer>
  /** Squared error after each round, with how many groups had gone; it starts with none. */
  readonly curve: readonly { readonly removed: number; readonly error: number }[]
  /** What each group cost when it went, or would cost next. */
  readonly scores: Float64Array<ArrayBuffer>
  /** The `damp` that the factorisation took. */
  readonly damp: number
}

export interface EliminateOptions extends SystemOptions {
  /** Centre the activations: the bias carries their means. */
  readonly center: boolean
  /** How much less correlations between columns count, 0 to 1. @default 0 */
  readonly shrinkage?: number
  /** Consecutive classes of `size` groups, of which each keeps `keep`. @default one class of all */
  readonly classes?: { readonly size: number; readonly keep: number }
}

/** A round takes this part of the groups: smaller rounds choose better, and each costs a pass over P. */
const ROUND_SHARE = 1 / 48
/** W and P shrink to the columns that are left once these are less than this part of theirs: a round passes over all of P. */
const SHRINK_SHARE = 7 / 8

/**
 * @param weight [out, in] @param groups columns of each group, as many in each @param keep groups that stay
 * @throws NumericError where no damping makes G positive definite
 */
export async function eliminate(
  engine: Engine,
  weight: Floats,
  statistics: Statistics,
  groups: readonly (readonly number[])[],
  keep: number,
  options: EliminateOptions,
): Promise<Elimination> {
  const { width, mean, gap } = statistics
  const out = weight.length / width
  const { classes = { size: groups.length, keep } } = options
  const spare = Array.from({ length: groups.length / classes.size }, () => classes.size - classes.keep)
  const w = matrix(width, out, Float64Array.from(transposed(countedRows(weight, statistics), width))) // Wᵀ
  const cross = gap && (() => crossOf(statistics, options.center))
  const begin = (n: number, read: RowReader) => downdate(engine.linalg, n, read, w, cross)
  const system = await factorDamped(begin, statistics, options.center ? mean : undefined, allColumns(width), options)
  const one: RowReader = (i, from, to) => to.fill(0).fill(+(i === from), 0, 1)
  const rows = system?.factor ?? (await downdate(engine.linalg, width, one, w))! // where nothing is ever active no choice matters
  const scores = new Float64Array(groups.length)
  const gone = new Uint8Array(groups.length)
  const order: number[] = []
  const curve = [{ removed: 0, error: 0 }]
  const perRound = Math.ceil(groups.length * ROUND_SHARE)
  let columns = allColumns(width) // of the rows of Wᵀ and P
  const rowOf = columns.slice() // −1 for columns that are gone
  const rowsOf = (of: Iterable<number>) => Int32Array.from([...of].flatMap(g => groups[g].map(column => rowOf[column])))
  while (order.length < groups.length - keep) {
    const left = Int32Array.from(groups.keys()).filter(g => !gone[g])
    const costs = rows.costs(rowsOf(left), groups[0].length)
    for (const [i, g] of left.entries()) scores[g] = costs[i]
    const cheapest = left.sort((a, b) => scores[a] - scores[b] || a - b)
    const round: number[] = []
    for (const g of cheapest) {
      const member = Math.floor(g / classes.size)
      if (round.length === Math.min(perRound, groups.length - keep - order.length)) break
      if (spare[member] === 0) continue
      spare[member]--
      round.push(g)
    }
    const error = await rows.remove(rowsOf(round))
    if (error === undefined)
      throw new NumericError(
        `${options.layer}: elimination ran out of precision. Use a larger damp, more calibration text, or score column.`,
      )
    for (const g of round) {
      gone[g] = 1
      for (const column of groups[g]) rowOf[column] = -1
    }
    const staying = columns.filter(column => rowOf[column] >= 0)
    if (staying.length < SHRINK_SHARE * columns.length) {
      rows.keep(staying.map(column => rowOf[column]))
      columns = staying
      for (const [row, column] of columns.entries()) rowOf[column] = row
    }
    order.push(...round)
    curve.push({ removed: order.length, error: curve[curve.length - 1].error + error })
  }
  const kept = Int32Array.from(groups.keys()).filter(g => !gone[g])
  return { kept, order: Int32Array.from(order), curve, scores, damp: system?.damp ?? options.damp }
}

/** `Hᵀ(αD)` [in, out], of centred activations where they are. */
function crossOf({ width, tokens, mean, gap }: Statistics, center: boolean): Matrix {
  const { mean: gaps, cross } = gap!
  const all = matrix(width, gaps.length, Float64Array.from(cross))
  for (let j = 0, at = 0; center && j < width; j++) for (const of of gaps) all.data[at++] -= tokens * mean[j] * of
  return all
}
