// Linear algebra outside the graphs of half-blocks, on matrices in the caller's memory. Each engine takes the way that
// is fastest on it (graphs.ts, blas.node.ts); results agree within rounding.
import type { Floats } from '../../formats/tensors.ts'
import type { Rows } from '../values.ts'
import type { Factor, RowReader } from './cholesky.ts'
import { type Gemm, type Matrix, matrix, type Numbers } from './matrix.ts'
import type { SymmetricEigen } from './symmetric-eigen.ts'

export interface Linalg {
  readonly gemm: Gemm
  /** `A B` in float32. @param a [.., n] @param b [n, columns] */
  multiply(a: Floats, b: Floats, columns: number): Promise<Floats>
  /** Begins a sum of products `H Hᵀ` [n, n] in float32. @param kind the engine's seconds count under it */
  syrk(n: number, kind: string): SymmetricSum
  /**
   * Factors a symmetric matrix [n, n] in float64, which is read on and above the diagonal.
   * @returns undefined where it is not positive definite
   */
  factor(n: number, read: RowReader): Promise<Factor | undefined>
  /** Eigenvalues and eigenvectors of a small symmetric matrix [n, n] in float64. */
  eigh(a: Matrix): Promise<SymmetricEigen>
}

/** `Σ H Hᵀ` [n, n] over batches. Elements (i, j) and (j, i) are computed once, where that is faster. */
export interface SymmetricSum {
  /** @param h [n, ..] */
  add(h: Rows): Promise<void>
  parts(): Promise<readonly Floats[]> // its arrays, which add up element by element with those of another sum
  /** The whole matrix [n, n]. */
  whole(): Promise<Floats>
  /** Sums `of`, which is symmetric in rows and columns, over the matrix, by parts of row `i` from column `from` on. */
  inner(of: (i: number, from: number, part: Floats) => number): Promise<number>
}

/** A library that multiplies in place of graphs. */
export interface Library {
  readonly name: string // with its version, if it tells one
  /** @param graphs what the library lacks */
  linalg(timed: Timed, graphs: Linalg): Linalg
}

/** Makes a call, whose seconds count under `kind`. */
export type Timed = <T>(kind: string, call: () => T | Promise<T>) => Promise<T>

/** `multiply` of a Linalg by its `gemm`. */
export const multiplyBy =
  (gemm: Gemm): Linalg['multiply'] =>
  async (a, b, columns) => {
    const n = b.length / columns
    const rows = a.length / n
    const y = matrix(rows, columns, new Float32Array(rows * columns))
    await gemm(matrix(rows, n, a), matrix(n, columns, b), y)
    return y.data
  }

/** The default kind of a product. */
export const kindOf = ({ data }: Matrix<Numbers>): string => (data instanceof Float64Array ? 'gemm64' : 'product')
