// Takes rows out of a matrix X [n, m] while the rows that stay make up for them. With P = A⁻¹ [n, n], for a set of rows
// S:
//   X ← X − P_:S P_SS⁻¹ X_S,   P ← P − P_:S P_SS⁻¹ P_S:,   at a cost of ⟨X_S, P_SS⁻¹ X_S⟩
// (Optimal Brain Surgeon: Hassibi & Stork, NeurIPS 1992; Hager, SIAM Review 31, 1989).
import { factorInPlace, invertLower, type RowReader } from './cholesky.ts'
import type { Linalg } from './linalg.ts'
import { type Matrix, matrix, rowsOf } from './matrix.ts'
import { pick, pickRows } from './scatter.ts'
import { dot } from './sums.ts'

type Algebra = Pick<Linalg, 'gemm' | 'factor'>

/**
 * Begins with P C + X; without C, with X.
 * @param read A [n, n] @param x [n, m]: becomes P C + X @param c [n, m]
 * @returns undefined where A is not positive definite in float64
 */
export async function downdate(linalg: Algebra, n: number, read: RowReader, x: Matrix, c?: () => Matrix) {
  const factor = await linalg.factor(n, read)
  if (!factor) return undefined
  const p = await factor.invert()
  if (c) await linalg.gemm(p, c(), x, { accumulate: true })
  return new DowndatedRows(linalg, p, x)
}

class DowndatedRows {
  constructor(
    private readonly linalg: Algebra,
    private p: Matrix, // [n, n]
    private x: Matrix, // [n, m]
  ) {}

  /** The cost of each set. @param sets rows of all sets, `size` in each */
  costs(sets: Int32Array<ArrayBuffer>, size: number): Float64Array {
    const { p, x } = this
    const costs = new Float64Array(sets.length / size)
    for (let i = 0; i < costs.length; i++) {
      const j = sets[i * size]
      const row = rowsOf(x, j, j + 1).data
      costs[i] =
        size > 1 ? this.#cost(sets.subarray(i * size, (i + 1) * size)) : dot(row, row) / p.data[j * (p.columns + 1)]
    }
    return costs
  }

  /** Takes rows out: zeros stay. @returns their cost; undefined where P_SS is not positive definite in float64 */
  async remove(s: Int32Array<ArrayBuffer>): Promise<number | undefined> {
    const { p, x, linalg } = this
    const allOf = (m: Matrix) => matrix(s.length, m.columns, pickRows(m.data, s, m.columns))
    const [pS, xS] = [allOf(p), allOf(x)]
    const factor = await linalg.factor(s.length, (i, from, target) => {
      for (let j = 0; j < target.length; j++) target[j] = pS.data[i * p.columns + s[from + j]]
    })
    if (!factor) return undefined
    let cost = 0
    for (const of of [x, p]) {
      const y = matrix(s.length, of.columns, (of === x ? xS : pS).data.slice())
      await factor.solve(y)
      if (of === x) cost = dot(xS.data, y.data)
      await linalg.gemm(pS, y, of, { transA: true, alpha: -1, accumulate: true })
      for (const j of s) rowsOf(of, j, j + 1).data.fill(0)
    }
    for (const j of s) for (let i = 0; i < p.rows; i++) p.data[i * p.columns + j] = 0
    return cost
  }

  /** Drops all rows but these, ascending, after the others were taken out; numbers rows anew. */
  keep(left: Int32Array<ArrayBuffer>): void {
    const { p, x } = this
    this.p = matrix(left.length, left.length, pick(p.data, left, left, p.columns))
    this.x = matrix(left.length, x.columns, pickRows(x.data, left, x.columns))
  }

  /** Cost of several rows: Σ of squares of L⁻¹ X_S, where P_SS = L Lᵀ. */
  #cost(set: Int32Array<ArrayBuffer>): number {
    const { p, x } = this
    const n = set.length
    const pSS = matrix(n, n, pick(p.data, set, set, p.columns))
    const xS = matrix(n, x.columns, pickRows(x.data, set, x.columns))
    factorInPlace(pSS)
    const inverse = invertLower(pSS).data
    let sum = 0
    for (let i = 0; i < n; i++)
      for (let o = 0; o < x.columns; o++) {
        let y = 0
        for (let k = 0; k <= i; k++) y += inverse[i * n + k] * xS.data[k * x.columns + o]
        sum += y * y
      }
    return sum
  }
}
