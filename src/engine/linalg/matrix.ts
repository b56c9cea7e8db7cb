// Row-major matrices in float32 or float64, and their product.
import type { Floats } from '../../formats/tensors.ts'

export type Doubles = Float64Array<ArrayBuffer>
export type Numbers = Floats | Doubles

/** A row-major matrix; `data` may be a view of whole rows of a larger one. */
export interface Matrix<T extends Numbers = Doubles> {
  readonly data: T
  readonly rows: number
  readonly columns: number
}

export function matrix(rows: number, columns: number): Matrix
export function matrix<T extends Numbers>(rows: number, columns: number, data: T): Matrix<T>
export function matrix(rows: number, columns: number, data: Numbers = new Float64Array(rows * columns)) {
  return { data, rows, columns }
}

/** Rows `from` (included) to `to` (excluded): a view. */
export const rowsOf = <T extends Numbers>(m: Matrix<T>, from: number, to = m.rows): Matrix<T> =>
  matrix(to - from, m.columns, m.data.subarray(from * m.columns, to * m.columns) as T)

export interface GemmOptions {
  readonly transA?: boolean
  readonly transB?: boolean
  /** @default 1 */
  readonly alpha?: 1 | -1
  /** Add to `c` instead of overwriting it. @default false */
  readonly accumulate?: boolean
  /** The engine's seconds count under it. @default gemm64; in float32 product */
  readonly kind?: string
}

/** `C ← α·op(A)·op(B)`, or `C ← C + …`, in place on views. */
export type Gemm = <T extends Numbers>(a: Matrix<T>, b: Matrix<T>, c: Matrix<T>, options?: GemmOptions) => Promise<void>
