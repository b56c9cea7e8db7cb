// Eigenvalues and eigenvectors of a small symmetric matrix in float64, by cyclic Jacobi rotations: slower than
// tridiagonalisation, but short, and accurate to machine precision relative to the norm. Source: Golub & Van Loan,
// Matrix Computations, 4th ed., §8.5.
import { type Matrix, matrix } from './matrix.ts'

export interface SymmetricEigen {
  /** Descending. */
  readonly values: Float64Array<ArrayBuffer> // [n]
  /** Orthonormal, one a row, in the order of `values`. */
  readonly vectors: Matrix // [n, n]
}

/** Convergence is quadratic: matrices of 256 take 6 to 9 sweeps. */
const MAX_SWEEPS = 30
/** Off-diagonal elements below this part of the norm are rounding. */
const NEGLIGIBLE = 1e-16

/** @param a symmetric [n, n]; both triangles are read */
export function symmetricEigen(a: Matrix): SymmetricEigen {
  const n = a.rows
  const work = a.data.slice()
  const vectors = matrix(n, n)
  for (let i = 0; i < n; i++) vectors.data[i * n + i] = 1
  const small = NEGLIGIBLE * Math.sqrt(work.reduce((sum, v) => sum + v * v, 0))
  for (let sweep = 0, rotated = true; rotated && sweep < MAX_SWEEPS; sweep++) {
    rotated = false
    for (let p = 0; p < n - 1; p++)
      for (let q = p + 1; q < n; q++) {
        if (Math.abs(work[p * n + q]) <= small) continue
        rotated = true
        const [c, s] = angle(work[p * n + p], work[q * n + q], work[p * n + q])
        rotateRows(work, n, p, q, c, s)
        for (let i = 0, at = p; i < n; i++, at += n) {
          const [x, y] = [work[at], work[at + q - p]]
          work[at] = c * x - s * y
          work[at + q - p] = s * x + c * y
        }
        rotateRows(vectors.data, n, p, q, c, s)
      }
  }
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => work[j * n + j] - work[i * n + i] || i - j)
  const sorted = matrix(n, n)
  for (const [to, from] of order.entries()) sorted.data.set(vectors.data.subarray(from * n, (from + 1) * n), to * n)
  return { values: Float64Array.from(order, i => work[i * n + i]), vectors: sorted }
}

/** Cosine and sine of the smaller rotation that makes `apq` zero. */
function angle(app: number, aqq: number, apq: number): [number, number] {
  const tau = (aqq - app) / (2 * apq)
  const t = (tau >= 0 ? 1 : -1) / (Math.abs(tau) + Math.sqrt(1 + tau * tau))
  const c = 1 / Math.sqrt(1 + t * t)
  return [c, t * c]
}

function rotateRows(data: Float64Array, n: number, p: number, q: number, c: number, s: number): void {
  for (let i = p * n, j = q * n, end = i + n; i < end; i++, j++) {
    const [x, y] = [data[i], data[j]]
    data[i] = c * x - s * y
    data[j] = s * x + c * y
  }
}
