// Blocked Cholesky in float64: `A = L Lᵀ`, `A X = B`, and `A⁻¹`. Small diagonal blocks are factored and inverted here, everything else is a
// matrix product on the engine. Each block of the result is finished before the next is begun (left-looking), so that what a product
// adds to stays in the cache. Source: Golub & Van Loan, Matrix Computations, 4th ed., §4.2.5 and §4.2.6.
import type { Engine } from '../engine/engine.ts'
import { gemm, type Matrix, matrix, rowsOf } from './gemm.ts'

/** Edge of a diagonal block: its own factorisation runs in JavaScript, so it is small where the matrix is. */
const blockEdge = (n: number): number => (n < 4096 ? 128 : 256)

/** Block column j holds rows from its own diagonal down, so that any lower part of it is one contiguous view. */
interface Panel {
  readonly first: number
  readonly below: Matrix // [n - first - size, size], L under the diagonal block
  readonly inverse: Matrix // [size, size], inverse of the diagonal block of L
}

export type Factor = readonly Panel[]

/** Writes elements (i, j), (i, j + 1), … of a symmetric matrix to `target`, as many as it holds. */
export type RowReader = (i: number, j: number, target: Float64Array) => void

const SUBTRACT = { alpha: -1, accumulate: true } as const

/**
 * Factors a symmetric matrix [n, n], whose lower triangle is read once.
 * @returns undefined where the matrix is not positive definite in float64
 */
export async function cholesky(engine: Engine, n: number, read: RowReader): Promise<Factor | undefined> {
  const panels: Panel[] = []
  const edge = blockEdge(n)
  for (let first = 0; first < n; first += edge) {
    const size = Math.min(edge, n - first)
    const column = matrix(n - first, size)
    for (let i = 0; i < column.rows; i++) read(first + i, first, column.data.subarray(i * size, (i + 1) * size))
    for (const p of panels) {
      const from = first - p.first - p.inverse.rows
      const across = rowsOf(p.below, from, from + size)
      await gemm(engine, rowsOf(p.below, from), across, column, { transB: true, ...SUBTRACT })
    }
    const diagonal = rowsOf(column, 0, size)
    if (!factorInPlace(diagonal)) return undefined
    const inverse = invertLower(diagonal)
    const below = matrix(n - first - size, size)
    if (below.rows > 0) await gemm(engine, rowsOf(column, size), inverse, below, { transB: true })
    panels.push({ first, below, inverse })
  }
  return panels
}

/** Solves `A X = B` in place: `b` [n, m] becomes X. */
export async function solve(engine: Engine, factor: Factor, b: Matrix): Promise<void> {
  const blockOf = (p: Panel) => rowsOf(b, p.first, p.first + p.inverse.rows)
  const applyInverse = async (p: Panel, transA: boolean) => {
    const block = blockOf(p)
    const copy = matrix(block.rows, block.columns, block.data.slice())
    await gemm(engine, p.inverse, copy, block, { transA })
  }
  for (const [i, p] of factor.entries()) {
    for (const above of factor.slice(0, i)) {
      const from = p.first - above.first - above.inverse.rows
      const across = rowsOf(above.below, from, from + p.inverse.rows)
      await gemm(engine, across, blockOf(above), blockOf(p), SUBTRACT) // L Y = B, downwards
    }
    await applyInverse(p, false)
  }
  for (const p of factor.toReversed()) {
    const rest = rowsOf(b, p.first + p.inverse.rows) // Lᵀ X = Y, upwards
    if (rest.rows > 0) await gemm(engine, p.below, rest, blockOf(p), { transA: true, ...SUBTRACT })
    await applyInverse(p, true)
  }
}

/**
 * `A⁻¹` [n, n]. Of each block column only what is on and below the diagonal is solved for, with the part of L that it depends on: a third
 * of what `A X = I` takes. The rest is its mirror image.
 */
export async function invert(engine: Engine, factor: Factor): Promise<Matrix> {
  const n = factor[0].inverse.rows + factor[0].below.rows
  const inverse = matrix(n, n)
  for (const [i, { first, inverse: diagonal }] of factor.entries()) {
    const size = diagonal.rows
    const column = matrix(n - first, size)
    for (let j = 0; j < size; j++) column.data[j * (size + 1)] = 1
    const trailing = factor.slice(i).map(panel => ({ ...panel, first: panel.first - first }))
    await solve(engine, trailing, column)
    for (let r = first, at = 0; r < n; r++)
      for (let c = first; c < first + size; c++, at++)
        inverse.data[r * n + c] = inverse.data[c * n + r] = column.data[at]
  }
  return inverse
}

/** Lower Cholesky factor of a small matrix, in place. False where a pivot is not positive. */
function factorInPlace({ data, rows: n }: Matrix): boolean {
  for (let j = 0; j < n; j++) {
    let pivot = data[j * n + j]
    for (let k = 0; k < j; k++) pivot -= data[j * n + k] ** 2
    if (!(pivot > 0)) return false
    const root = Math.sqrt(pivot)
    data[j * n + j] = root
    for (let i = j + 1; i < n; i++) {
      let sum = data[i * n + j]
      for (let k = 0; k < j; k++) sum -= data[i * n + k] * data[j * n + k]
      data[i * n + j] = sum / root
    }
  }
  return true
}

/** Inverse of a small lower triangular matrix. */
function invertLower({ data, rows: n }: Matrix): Matrix {
  const inverse = matrix(n, n)
  for (let j = 0; j < n; j++) {
    inverse.data[j * n + j] = 1 / data[j * n + j]
    for (let i = j + 1; i < n; i++) {
      let sum = 0
      for (let k = j; k < i; k++) sum -= data[i * n + k] * inverse.data[k * n + j]
      inverse.data[i * n + j] = sum / data[i * n + i]
    }
  }
  return inverse
}
