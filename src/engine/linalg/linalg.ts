// Linear algebra outside the graphs of half-blocks, on matrices in the caller's memory: what an engine gives, each in the way that is fastest on
// it (linalg-graphs.ts, blas.node.ts). Callers name no way, and results agree within rounding.
import type { Floats } from '../../formats/tensors.ts'
import type { Rows } from '../values.ts'
import type { Factor, RowReader } from './cholesky.ts'
import { type Gemm, type Matrix, matrix, type Numbers } from './matrix.ts'
import type { SymmetricEigen } from './symmetric-eigen.ts'

export interface Linalg {
  readonly gemm: Gemm
  /** `A B` in float32. @param a [.., n] @param b [n, columns] */
  multiply(a: Floats, b: Floats, columns: number): Promise<Floats>
  /** Begins a sum of products `H Hᵀ` [n, n] in float32. @param kind what the engine's seconds count it under */
  syrk(n: number, kind: string): SymmetricSum
  /**
   * Factors a symmetric matrix [n, n] in float64. What is on and above its diagonal is read.
   * @returns undefined where it is not positive definite
   */
  factor(n: number, read: RowReader): Promise<Factor | undefined>
  /** Eigenvalues and eigenvectors of a small symmetric matrix [n, n] in float64. */
  eigh(a: Matrix): Promise<SymmetricEigen>
}

/** `Σ H Hᵀ` [n, n] over batches, each pair of elements that are equal computed and kept once, where it is in large parts. */
export interface SymmetricSum {
  /** @param h [n, ..] */
  add(h: Rows): Promise<void>
  parts(): Promise<readonly Floats[]> // what holds it: two sums together are those of these, element by element
  /** All of it [n, n]. */
  whole(): Promise<Floats>
  /** Sum over all of it of what `of` gives for a part of row `i` that begins at column `from`. `of` is symmetric in rows and columns. */
  inner(of: (i: number, from: number, part: Floats) => number): Promise<number>
}

/** A library that multiplies in place of graphs. */
export interface Library {
  readonly name: string // with its version where it says so
  /** @param graphs for what it lacks */
  linalg(timed: Timed, graphs: Linalg): Linalg
}

/** Makes a call. Its seconds count under `kind`. */
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

/** What the seconds of a product are counted under, where the caller does not say. */
export const kindOf = ({ data }: Matrix<Numbers>): string => (data instanceof Float64Array ? 'gemm64' : 'product')
