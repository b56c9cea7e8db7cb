// Rows are taken out of a matrix X [n, m], and those that stay make up for them. With P = A⁻¹ [n, n], for a set of rows S:
//   X ← X − P_:S P_SS⁻¹ X_S,   P ← P − P_:S P_SS⁻¹ P_S:,   at a cost of ⟨X_S, P_SS⁻¹ X_S⟩
// (Optimal Brain Surgeon: Hassibi & Stork, NeurIPS 1992; Hager, SIAM Review 31, 1989). Rows may lie with several processes, some with each.
import { type Factor, factorInPlace, invertLower, type RowReader } from './cholesky.ts'
import { type Doubles, type Gemm, type Matrix, matrix, rowsOf } from './matrix.ts'
import { pick, pickRows } from './scatter.ts'
import { dot } from './sums.ts'

export interface Downdate {
  /** What each set would cost. @param sets their rows, set after set, as many in each; of several processes' sets of one row, ascending */
  costs(sets: Int32Array<ArrayBuffer>, size: number): Promise<Float64Array>
  /** Takes these rows out; they are zeros then. @returns their cost; undefined where P_SS is not positive definite in float64 */
  remove(at: Int32Array<ArrayBuffer>): Promise<number | undefined>
  /** Leaves only these rows, ascending, which are counted anew. The others were taken out. */
  keep(left: Int32Array<ArrayBuffer>): Promise<void>
}

interface Algebra {
  readonly gemm: Gemm
  factor(n: number, read: RowReader): Promise<Factor | undefined>
  /** As `downdate`, over several processes. */
  readonly downdate?: Downdating
}

/**
 * @param read A [n, n] @param x [n, m]: becomes P C + X, or is given away @param c [n, m]
 * @returns undefined where A is not positive definite in float64
 */
export type Downdating = (n: number, read: RowReader, x: Matrix, c?: () => Matrix) => Promise<Downdate | undefined>

/** Begins with P C + X, without C with X. */
export async function downdate(linalg: Algebra, n: number, read: RowReader, x: Matrix, c?: () => Matrix) {
  if (linalg.downdate) return linalg.downdate(n, read, x, c)
  const factor = await linalg.factor(n, read)
  if (!factor) return undefined
  const p = await factor.invert()
  if (c) await linalg.gemm(p, c(), x, { accumulate: true })
  return new DowndatedRows(linalg, p, x)
}

/** Consecutive rows of P and X, from `first` on: all, or what one process has. */
export class DowndatedRows implements Downdate {
  constructor(
    private readonly linalg: Algebra,
    private p: Matrix,
    private x: Matrix,
    private first = 0,
    /** What processes have, one after another. */
    private readonly gather: (own: Doubles) => Promise<Doubles> = async own => own,
  ) {}

  async costs(sets: Int32Array<ArrayBuffer>, size: number): Promise<Float64Array> {
    const { p, x, first } = this
    const own: number[] = []
    for (let i = 0; i < sets.length; i += size) {
      const j = sets[i] - first
      if (j < 0 || j >= p.rows) continue
      const row = rowsOf(x, j, j + 1).data
      own.push(size > 1 ? this.#cost(sets.subarray(i, i + size)) : dot(row, row) / p.data[j * p.columns + sets[i]])
    }
    return this.gather(Float64Array.from(own))
  }

  async remove(at: Int32Array<ArrayBuffer>): Promise<number | undefined> {
    const { p, x, first, linalg, gather } = this
    const rows = this.#own(at)
    const s = Int32Array.from(await gather(Float64Array.from(rows, j => j + first)))
    const allOf = async (m: Matrix) => matrix(s.length, m.columns, await gather(pickRows(m.data, rows, m.columns)))
    const [pS, xS] = [await allOf(p), await allOf(x)]
    const factor = await linalg.factor(s.length, (i, from, target) => {
      for (let j = 0; j < target.length; j++) target[j] = pS.data[i * p.columns + s[from + j]]
    })
    const made = await gather(Float64Array.of(factor ? 1 : 0))
    if (!factor || made.includes(0)) return undefined
    const here = p.rows < p.columns && Int32Array.from({ length: p.rows }, (_, i) => first + i)
    const pSR = here ? pick(pS.data, Int32Array.from(s.keys()), here, p.columns) : pS.data
    let cost = 0
    for (const of of [x, p]) {
      const y = matrix(s.length, of.columns, (of === x ? xS : pS).data.slice())
      await factor.solve(y)
      if (of === x) cost = dot(xS.data, y.data)
      if (p.rows > 0)
        await linalg.gemm(matrix(s.length, p.rows, pSR), y, of, { transA: true, alpha: -1, accumulate: true })
      for (const j of rows) rowsOf(of, j, j + 1).data.fill(0)
    }
    for (const j of s) for (let i = 0; i < p.rows; i++) p.data[i * p.columns + j] = 0
    return cost
  }

  async keep(left: Int32Array<ArrayBuffer>): Promise<void> {
    const { p, x, first } = this
    const rows = this.#own(left)
    this.p = matrix(rows.length, left.length, pick(p.data, rows, left, p.columns))
    this.x = matrix(rows.length, x.columns, pickRows(x.data, rows, x.columns))
    this.first = left.filter(j => j < first).length
  }

  /** Which of its own rows these are. */
  #own(at: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
    return at.map(j => j - this.first).filter(j => j >= 0 && j < this.p.rows)
  }

  /** Of several rows: Σ of squares of L⁻¹ X_S, where P_SS = L Lᵀ. */
  #cost(set: Int32Array<ArrayBuffer>): number {
    const { p, x, first } = this
    const [n, rows] = [set.length, set.map(j => j - first)]
    const pSS = matrix(n, n, pick(p.data, rows, set, p.columns))
    const xS = matrix(n, x.columns, pickRows(x.data, rows, x.columns))
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
