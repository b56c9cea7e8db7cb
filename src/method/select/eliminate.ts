// Backward elimination: columns go in rounds, first the columns that the others make up for best, and the rest is
// repaired after each round: downdates of P = (G + δI)⁻¹ and of W as repaired so far (engine/linalg/downdate.ts). The r
// columns of a value channel's query group go together. The error includes δ‖W' − W‖², as in the restoration; both end
// at the same weights.
// Source: Optimal Brain Surgeon, Hassibi & Stork, NeurIPS 1992; for layers, Frantar & Alistarh, NeurIPS 2022; OSSCAR,
// arXiv 2403.12983, searches on from this.
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
  /** Squared error after each round, from none removed on. */
  readonly curve: readonly { readonly removed: number; readonly error: number }[]
  /** The cost of each group when it went, or next. */
  readonly scores: Float64Array<ArrayBuffer>
  /** The `damp` of the factorisation. */
  readonly damp: number
}

export interface EliminateOptions extends SystemOptions {
  /** Centre the activations: the bias carries their means. */
  readonly center: boolean
  /** How much less correlations between columns count, 0 to 1. @default 0 */
  readonly shrinkage?: number
  /** Each class of `size` consecutive groups keeps `keep`. @default one class */
  readonly classes?: { readonly size: number; readonly keep: number }
}

/** The part of the groups that goes in a round: smaller rounds choose better, and each costs a pass over P. */
const ROUND_SHARE = 1 / 48
/** W and P shrink once fewer than this part of the columns is left: a round passes over all of P. */
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
  // Where nothing is ever active, no choice matters.
  const rows = system?.factor ?? (await downdate(engine.linalg, width, one, w))!
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
        `${options.layer}: elimination ran out of precision. Use a larger damp, more calibration text, or score ` +
          'column.',
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

/** `Hᵀ(αD)` [in, out]. */
function crossOf({ width, tokens, mean, gap }: Statistics, center: boolean): Matrix {
  const { mean: gaps, cross } = gap!
  const all = matrix(width, gaps.length, Float64Array.from(cross))
  for (let j = 0, at = 0; center && j < width; j++) for (const of of gaps) all.data[at++] -= tokens * mean[j] * of
  return all
}
