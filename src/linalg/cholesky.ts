// Cholesky in float64, by halves: `A = L Lᵀ`, `A X = B`, and `A⁻¹`. Small diagonal blocks are factored and inverted here, everything else is a
// matrix product on the engine. Halves make the sums of these products as long as can be, and memory is passed over the less. What the
// columns before a block take off it is taken off when it is read (left-looking). Source: Golub & Van Loan, Matrix Computations, 4th ed.,
// §4.2; by halves: Elmroth, Gustavson, Jonsson & Kågström, SIAM Review 46 (2004), §4. Where the engine has a BLAS, LAPACK does it all.
import type { Engine } from '../engine/engine.ts'
import { gemm, type Matrix, matrix, rowsOf } from './gemm.ts'
import { mirrorUpper, transposed } from './scatter.ts'

/** Edge of a diagonal block: its own factorisation runs in JavaScript. */
const EDGE = 128
/** Rows that a product makes at once: the part of the left operand that goes with them stays in the cache while the right one passes. */
const ROWS = 512

/** L of a matrix [n, n]. */
export type Factor = Blocked | Whole

/** By halves, down to the diagonal blocks. */
type Blocked = Diagonal | Halves

interface Diagonal {
  readonly n: number
  /** Inverse of L. */
  readonly inverse: Matrix
}

/** `L = [upper 0; below lower]`. */
interface Halves {
  readonly n: number
  readonly upper: Blocked
  readonly below: Matrix // [lower.n, upper.n]
  readonly belowT: Matrix // its transpose: products by way of `transA` are slow
  readonly lower: Blocked
}

/** As LAPACK leaves it. */
interface Whole {
  readonly n: number
  /** `Lᵀ` [n, n], on and above the diagonal. */
  readonly transposed: Matrix
}

/** Writes elements (i, j), (i, j + 1), … of a symmetric matrix to `target`, as many as it holds. */
export type RowReader = (i: number, j: number, target: Float64Array) => void

const SUBTRACT = { alpha: -1, accumulate: true } as const

/**
 * Factors a symmetric matrix [n, n]. Its diagonal blocks and what is above them are read once.
 * @returns undefined where the matrix is not positive definite in float64
 */
export async function cholesky(engine: Engine, n: number, read: RowReader): Promise<Factor | undefined> {
  const { blas } = engine
  if (!blas || n === 0)
    return factorFrom(engine, 0, n, async (i, rows, j, columns) => {
      const block = matrix(rows, columns)
      for (let r = 0; r < rows; r++) read(i + r, j, block.data.subarray(r * columns, (r + 1) * columns))
      return block
    })
  const transposed = matrix(n, n)
  for (let i = 0; i < n; i++) read(i, i, transposed.data.subarray(i * (n + 1), (i + 1) * n))
  // LAPACK may take a pivot that is not a number for a positive one.
  const definite = await engine.timed('gemm64', () => blas.potrf(transposed.data, n))
  return definite && Number.isFinite(transposed.data[n * n - 1]) ? { n, transposed } : undefined
}

/** Makes the block [rows, columns] at (i, j) of what is to be factored. */
type BlockReader = (i: number, rows: number, j: number, columns: number) => Promise<Matrix>

/** Factors the square [n, n] at (first, first). */
async function factorFrom(engine: Engine, first: number, n: number, read: BlockReader): Promise<Blocked | undefined> {
  if (n <= EDGE) {
    const block = await read(first, n, first, n)
    return factorInPlace(block) ? { n, inverse: invertLower(block) } : undefined
  }
  const half = EDGE * Math.ceil(n / EDGE / 2)
  const upper = await factorFrom(engine, first, half, read)
  if (!upper) return undefined
  const [middle, rest] = [first + half, n - half]
  const belowT = await read(first, half, middle, rest)
  await solveLower(engine, upper, belowT)
  const below = matrix(rest, half, transposed(belowT.data, rest))
  const lower = await factorFrom(engine, middle, rest, async (i, rows, j, columns) => {
    const block = await read(i, rows, j, columns)
    const [a, b] = [rowsOf(below, i - middle, i - middle + rows), rowsOf(below, j - middle, j - middle + columns)]
    await gemm(engine, a, b, block, { transB: true, ...SUBTRACT })
    return block
  })
  return lower && { n, upper, below, belowT, lower }
}

/** Solves `A X = B` in place: `b` [n, m] becomes X. */
export async function solve(engine: Engine, factor: Factor, b: Matrix): Promise<void> {
  if ('transposed' in factor)
    return engine.timed('gemm64', () => engine.blas!.potrs(factor.transposed.data, factor.n, b.data))
  await solveLower(engine, factor, b)
  await solveUpper(engine, factor, b)
}

/** `L X = B`, downwards. */
async function solveLower(engine: Engine, factor: Blocked, b: Matrix): Promise<void> {
  if ('inverse' in factor) return applyInverse(engine, factor, b, false)
  const [above, below] = split(b, factor)
  await solveLower(engine, factor.upper, above)
  await subtractProduct(engine, factor.below, above, below)
  await solveLower(engine, factor.lower, below)
}

/** `Lᵀ X = B`, upwards. */
async function solveUpper(engine: Engine, factor: Blocked, b: Matrix): Promise<void> {
  if ('inverse' in factor) return applyInverse(engine, factor, b, true)
  const [above, below] = split(b, factor)
  await solveUpper(engine, factor.lower, below)
  await subtractProduct(engine, factor.belowT, below, above)
  await solveUpper(engine, factor.upper, above)
}

const split = (b: Matrix, { upper }: Halves) => [rowsOf(b, 0, upper.n), rowsOf(b, upper.n)]

function applyInverse(engine: Engine, { inverse }: Diagonal, b: Matrix, transA: boolean): Promise<void> {
  return gemm(engine, inverse, matrix(b.rows, b.columns, b.data.slice()), b, { transA })
}

/** `C ← C − A B`. */
async function subtractProduct(engine: Engine, a: Matrix, b: Matrix, c: Matrix): Promise<void> {
  for (let from = 0; from < c.rows; from += ROWS) {
    const to = Math.min(c.rows, from + ROWS)
    await gemm(engine, rowsOf(a, from, to), b, rowsOf(c, from, to), SUBTRACT)
  }
}

/**
 * `A⁻¹` [n, n], symmetric to the last bit. With S the inverse of `lower lowerᵀ` and V = upper⁻ᵀ belowᵀ it is
 * `[(upper upperᵀ)⁻¹ + V S Vᵀ, −V S; ., S]`.
 */
export async function invert(engine: Engine, factor: Factor): Promise<Matrix> {
  if ('transposed' in factor) {
    const inverse = matrix(factor.n, factor.n, factor.transposed.data.slice())
    await engine.timed('gemm64', () => engine.blas!.potri(inverse.data, factor.n))
    mirrorUpper(inverse.data, factor.n)
    return inverse
  }
  const inverse = matrix(factor.n, factor.n)
  if ('inverse' in factor) {
    const product = matrix(factor.n, factor.n)
    await gemm(engine, factor.inverse, factor.inverse, product, { transA: true })
    setSymmetric(inverse, 0, 0, product)
    return inverse
  }
  const { upper, belowT, lower } = factor
  const v = matrix(upper.n, lower.n, belowT.data.slice())
  await solveUpper(engine, upper, v)
  const s = await invert(engine, lower)
  const across = matrix(upper.n, lower.n)
  await subtractProduct(engine, v, s, across)
  const first = await invert(engine, upper)
  await gemm(engine, across, v, first, { transB: true, ...SUBTRACT })
  setSymmetric(inverse, 0, 0, first)
  setSymmetric(inverse, 0, upper.n, across)
  setSymmetric(inverse, upper.n, upper.n, s)
  return inverse
}

/** Puts a block at (i, j), and its mirror image at (j, i): of what is on and above the diagonal. */
function setSymmetric({ data, columns: n }: Matrix, i: number, j: number, block: Matrix): void {
  for (let r = 0, at = 0; r < block.rows; r++)
    for (let c = 0; c < block.columns; c++, at++)
      if (i + r <= j + c) data[(i + r) * n + j + c] = data[(j + c) * n + i + r] = block.data[at]
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
