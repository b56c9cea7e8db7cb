// What the engine takes from a BLAS and LAPACK library where one is in use: products with one shape in both operands, factorisations, solves.
// Calls block, as the runs of ONNX Runtime do. All matrices are row-major and dense. Names are those of the BLAS (Dongarra et al., ACM TOMS 16, 1990) and of LAPACK.
import type { Floats } from '../formats/tensors.ts'

type Doubles = Float64Array<ArrayBuffer>

export interface Operand {
  readonly data: Floats | Doubles
  readonly rows: number
  readonly columns: number
  /** The product takes its transpose. @default false */
  readonly transposed?: boolean
}

export interface Blas {
  /** Of the library, with its version where it says so. */
  readonly name: string
  /** `C ← α op(A) op(B) + β C`, all three in one type. */
  gemm(a: Operand, b: Operand, c: Floats | Doubles, alpha: 1 | -1, beta: 0 | 1): void
  /** `C ← A Aᵀ + β C` on and above the diagonal of C [n, n]. @param a [n, ..] */
  syrk(a: Floats, c: Floats, n: number, beta: 0 | 1): void
  /**
   * `A = Uᵀ U` in the place of A [n, n], n > 0, of which only what is on and above the diagonal is read and written.
   * @returns whether A is positive definite
   */
  potrf(a: Doubles, n: number): boolean
  /** `Uᵀ U X = B` in place: `b` [n, ..] becomes X. */
  potrs(u: Doubles, n: number, b: Doubles): void
  /** `(Uᵀ U)⁻¹` in the place of U, on and above the diagonal. */
  potri(u: Doubles, n: number): void
}
