// Backward elimination: columns go in rounds, those first whose loss is least once the others have made up for it, and what stays is
// repaired after each round. With P = (G + δI)⁻¹ and W as repaired so far, the squared error that the removal of column j adds is
//   ‖W_:j‖² / P_jj,  of several at once (S)  ⟨W_S P_SS⁻¹, W_S⟩,  and then  W ← W − W_S P_SS⁻¹ P_S:,  P ← P − P_:S P_SS⁻¹ P_S:
// (Optimal Brain Surgeon: Hassibi & Stork, NeurIPS 1992; for layers, Frantar & Alistarh, NeurIPS 2022; OSSCAR, arXiv 2403.12983, searches
// on from there.) The error includes δ‖W' − W‖², as that of the restoration does; both end at the same weights. Columns that only go
// together, those of a value channel's query group, are one group: r columns instead of one.

import type { Engine } from '../engine/engine.ts'
import { NumericError } from '../errors.ts'
import type { Floats } from '../formats/tensors.ts'
import { type Matrix, matrix } from '../linalg/matrix.ts'
import { pick, pickRows, transposed } from '../linalg/scatter.ts'
import { dot } from '../linalg/sums.ts'
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
export const ROUND_SHARE = 1 / 48
/** W and P shrink to the columns that are left once these are less than this part of theirs: a round passes over all of P. */
export const SHRINK_SHARE = 7 / 8

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
  const { width } = statistics
  const out = weight.length / width
  const { classes = { size: groups.length, keep } } = options
  const spare = Array.from({ length: groups.length / classes.size }, () => classes.size - classes.keep)
  let w = matrix(width, out, Float64Array.from(transposed(countedRows(weight, statistics), width))) // Wᵀ
  let { inverse, damp } = await dampedInverse(engine, statistics, options)
  if (statistics.gap) {
    const cross = matrix(width, out, Float64Array.from(statistics.gap.cross))
    if (options.center) centre(cross, statistics)
    await engine.linalg.gemm(inverse, cross, w, { accumulate: true })
  }
  const scores = new Float64Array(groups.length)
  const gone = new Uint8Array(groups.length)
  const order: number[] = []
  const curve = [{ removed: 0, error: 0 }]
  const perRound = Math.ceil(groups.length * ROUND_SHARE)
  let columns = allColumns(width) // of the rows of Wᵀ and P
  const rowOf = columns.slice() // −1 for columns that are gone
  const rowsOf = (g: number) => groups[g].map(column => rowOf[column])
  while (order.length < groups.length - keep) {
    for (const g of groups.keys()) if (!gone[g]) scores[g] = loss(w, inverse, rowsOf(g))
    const cheapest = Int32Array.from(groups.keys())
      .filter(g => !gone[g])
      .sort((a, b) => scores[a] - scores[b] || a - b)
    const round: number[] = []
    for (const g of cheapest) {
      const member = Math.floor(g / classes.size)
      if (round.length === Math.min(perRound, groups.length - keep - order.length)) break
      if (spare[member] === 0) continue
      spare[member]--
      round.push(g)
    }
    const error = await remove(engine, w, inverse, Int32Array.from(round.flatMap(rowsOf)), options)
    for (const g of round) {
      gone[g] = 1
      for (const column of groups[g]) rowOf[column] = -1
    }
    const left = columns.filter(column => rowOf[column] >= 0)
    if (left.length < SHRINK_SHARE * columns.length) {
      const rows = left.map(column => rowOf[column])
      w = rowsAt(w, rows)
      inverse = matrix(rows.length, rows.length, pick(inverse.data, rows, rows, inverse.columns))
      columns = left
      for (const [row, column] of columns.entries()) rowOf[column] = row
    }
    order.push(...round)
    curve.push({ removed: order.length, error: curve[curve.length - 1].error + error })
  }
  const kept = Int32Array.from(groups.keys()).filter(g => !gone[g])
  return { kept, order: Int32Array.from(order), curve, scores, damp }
}

/** `(G + δI)⁻¹`, or the identity where nothing is ever active and no choice matters. */
async function dampedInverse(engine: Engine, statistics: Statistics, options: EliminateOptions) {
  const { width, mean } = statistics
  const mu = options.center ? mean : undefined
  const system = await factorDamped(engine, statistics, mu, allColumns(width), options)
  if (system) return { inverse: await system.factor.invert(), damp: system.damp }
  const identity = matrix(width, width)
  for (let i = 0; i < width; i++) identity.data[i * (width + 1)] = 1
  return { inverse: identity, damp: options.damp }
}

/** `Hᵀ(αD)` → the same of centred activations. */
function centre(cross: Matrix, { tokens, mean, gap }: Statistics): void {
  for (let j = 0, at = 0; j < cross.rows; j++)
    for (let o = 0; o < cross.columns; o++, at++) cross.data[at] -= tokens * mean[j] * gap!.mean[o]
}

/** `⟨W_S P_SS⁻¹, W_S⟩` of one small group, by a Cholesky factorisation of P_SS: Σ of squares of L⁻¹ W_Sᵀ. `at`: its rows of W and P. */
function loss(w: Matrix, inverse: Matrix, at: readonly number[]): number {
  const out = w.columns
  if (at.length === 1) {
    const [j] = at
    const row = w.data.subarray(j * out, (j + 1) * out)
    return dot(row, row) / inverse.data[j * (inverse.columns + 1)]
  }
  const rows = at.map(j => w.data.subarray(j * out, (j + 1) * out))
  const factor = at.map(i => at.map(j => inverse.data[i * inverse.columns + j]))
  const solved: Float64Array[] = []
  let sum = 0
  for (const [i, row] of rows.entries()) {
    const x = row.slice()
    for (let k = 0; k < i; k++) {
      for (let j = 0; j < k; j++) factor[i][k] -= factor[i][j] * factor[k][j]
      factor[i][k] /= factor[k][k]
      factor[i][i] -= factor[i][k] ** 2
      for (let o = 0; o < out; o++) x[o] -= factor[i][k] * solved[k][o]
    }
    factor[i][i] = Math.sqrt(factor[i][i])
    for (let o = 0; o < out; o++) x[o] /= factor[i][i]
    sum += dot(x, x)
    solved.push(x)
  }
  return sum
}

/** Takes the columns in these rows of Wᵀ and P out: updates both in place, and gives the error that this adds. What went is zeros. */
async function remove(
  engine: Engine,
  w: Matrix,
  inverse: Matrix,
  at: Int32Array,
  { layer }: EliminateOptions,
): Promise<number> {
  const [pS, wS] = [rowsAt(inverse, at), rowsAt(w, at)]
  const factor = await engine.linalg.factor(at.length, (i, from, target) => {
    for (let j = 0; j < target.length; j++) target[j] = pS.data[i * inverse.columns + at[from + j]]
  })
  if (!factor)
    throw new NumericError(
      `${layer}: elimination ran out of precision. Use a larger damp, more calibration text, or score column.`,
    )
  const [pY, wY] = [copy(pS), copy(wS)]
  await factor.solve(pY)
  await factor.solve(wY)
  await engine.linalg.gemm(pS, wY, w, { transA: true, alpha: -1, accumulate: true })
  await engine.linalg.gemm(pS, pY, inverse, { transA: true, alpha: -1, accumulate: true })
  for (const j of at) {
    w.data.fill(0, j * w.columns, (j + 1) * w.columns)
    inverse.data.fill(0, j * inverse.columns, (j + 1) * inverse.columns)
    for (let i = 0; i < inverse.rows; i++) inverse.data[i * inverse.columns + j] = 0
  }
  return dot(wS.data, wY.data)
}

const rowsAt = ({ data, columns }: Matrix, at: Int32Array): Matrix =>
  matrix(at.length, columns, pickRows(data, at, columns))

const copy = ({ rows, columns, data }: Matrix): Matrix => matrix(rows, columns, data.slice())
