// Cholesky in float64, by halves: `A = L Lᵀ`, `A X = B`, and `A⁻¹`. Small diagonal blocks are factored and inverted
// here, all else is matrix products by `gemm`, whose sums are as long as can be by halves, so that memory is read less
// often. A block is updated by the columns before it when it is read (left-looking).
// Source: Golub & Van Loan, Matrix Computations, 4th ed., §4.2; by halves: Elmroth, Gustavson, Jonsson & Kågström, SIAM
// Review 46 (2004), §4.
import { type Gemm, type Matrix, matrix, rowsOf } from './matrix.ts'
import { transposed } from './scatter.ts'

/** Edge of a diagonal block, which JavaScript factors. */
const EDGE = 128
/** Rows of a product at a time: their part of the left operand stays in the cache while the right operand passes. */
const ROWS = 512

/** `A = L Lᵀ`, factored. */
export interface Factor {
  /** Solves `A X = B` in place: `b` [n, m] becomes X. */
  solve(b: Matrix): Promise<void>
  /** `A⁻¹` [n, n], symmetric to the last bit. */
  invert(): Promise<Matrix>
  /** `Lᵀ` [n, n], valid on and above the diagonal. */
  upper(): Matrix
  drop?(): void // frees a device's memory
}

/** L [n, n] by halves, down to the diagonal blocks. */
type Lower = Diagonal | Halves

interface Diagonal {
  readonly n: number
  /** Inverse of L. */
  readonly inverse: Matrix
}

/** `L = [upper 0; below lower]`. */
interface Halves {
  readonly n: number
  readonly upper: Lower
  readonly below: Matrix // [lower.n, upper.n]
  readonly belowT: Matrix // its transpose: products by way of `transA` are slow
  readonly lower: Lower
}

/** Writes elements (i, j), (i, j + 1), … of a symmetric matrix to `target`, as many as it holds. */
export type RowReader = (i: number, j: number, target: Float64Array) => void

const SUBTRACT = { alpha: -1, accumulate: true } as const
const SUBTRACT_BY_ROWS = { ...SUBTRACT, rows: ROWS } as const

/**
 * Factors a symmetric matrix [n, n], and reads it once, on and above the diagonal.
 * @returns undefined where the matrix is not positive definite in float64
 */
export async function cholesky(gemm: Gemm, n: number, read: RowReader): Promise<Factor | undefined> {
  const factor = await factorFrom(gemm, 0, n, async (i, rows, j, columns) => {
    const block = matrix(rows, columns)
    for (let r = 0; r < rows; r++) {
      const from = i === j ? r : 0
      read(i + r, j + from, block.data.subarray(r * columns + from, (r + 1) * columns))
      for (let c = 0; c < from; c++) block.data[r * columns + c] = block.data[c * columns + r]
    }
    return block
  })
  if (!factor) return undefined
  return {
    async solve(b) {
      await solveLower(gemm, factor, b)
      await solveUpper(gemm, factor, b)
    },
    invert: () => invert(gemm, factor),
    upper() {
      const target = matrix(n, n)
      putUpper(target, 0, factor)
      return target
    },
  }
}

/** Makes the block [rows, columns] at (i, j) of the matrix to be factored. */
type BlockReader = (i: number, rows: number, j: number, columns: number) => Promise<Matrix>

/** Factors the square [n, n] at (first, first). */
async function factorFrom(gemm: Gemm, first: number, n: number, read: BlockReader): Promise<Lower | undefined> {
  if (n <= EDGE) {
    const block = await read(first, n, first, n)
    return factorInPlace(block) ? { n, inverse: invertLower(block) } : undefined
  }
  const half = EDGE * Math.ceil(n / EDGE / 2)
  const upper = await factorFrom(gemm, first, half, read)
  if (!upper) return undefined
  const [middle, rest] = [first + half, n - half]
  const belowT = await read(first, half, middle, rest)
  await solveLower(gemm, upper, belowT)
  const below = matrix(rest, half, transposed(belowT.data, rest))
  const lower = await factorFrom(gemm, middle, rest, async (i, rows, j, columns) => {
    const block = await read(i, rows, j, columns)
    const [a, b] = [rowsOf(below, i - middle, i - middle + rows), rowsOf(below, j - middle, j - middle + columns)]
    await gemm(a, b, block, { transB: true, ...SUBTRACT })
    return block
  })
  return lower && { n, upper, below, belowT, lower }
}

/** `L X = B`, downwards. */
async function solveLower(gemm: Gemm, factor: Lower, b: Matrix): Promise<void> {
  if ('inverse' in factor) return applyInverse(gemm, factor, b, false)
  const [above, below] = split(b, factor)
  await solveLower(gemm, factor.upper, above)
  await gemm(factor.below, above, below, SUBTRACT_BY_ROWS)
  await solveLower(gemm, factor.lower, below)
}

/** `Lᵀ X = B`, upwards. */
async function solveUpper(gemm: Gemm, factor: Lower, b: Matrix): Promise<void> {
  if ('inverse' in factor) return applyInverse(gemm, factor, b, true)
  const [above, below] = split(b, factor)
  await solveUpper(gemm, factor.lower, below)
  await gemm(factor.belowT, below, above, SUBTRACT_BY_ROWS)
  await solveUpper(gemm, factor.upper, above)
}

const split = (b: Matrix, { upper }: Halves) => [rowsOf(b, 0, upper.n), rowsOf(b, upper.n)]

function applyInverse(gemm: Gemm, { inverse }: Diagonal, b: Matrix, transA: boolean): Promise<void> {
  return gemm(inverse, matrix(b.rows, b.columns, b.data.slice()), b, { transA })
}

/**
 * `A⁻¹` [n, n], symmetric to the last bit. With S the inverse of `lower lowerᵀ` and V = upper⁻ᵀ belowᵀ it is
 * `[(upper upperᵀ)⁻¹ + V S Vᵀ, −V S; ., S]`.
 */
async function invert(gemm: Gemm, factor: Lower): Promise<Matrix> {
  const inverse = matrix(factor.n, factor.n)
  if ('inverse' in factor) {
    const product = matrix(factor.n, factor.n)
    await gemm(factor.inverse, factor.inverse, product, { transA: true })
    setSymmetric(inverse, 0, 0, product)
    return inverse
  }
  const { upper, belowT, lower } = factor
  const v = matrix(upper.n, lower.n, belowT.data.slice())
  await solveUpper(gemm, upper, v)
  const s = await invert(gemm, lower)
  const across = matrix(upper.n, lower.n)
  await gemm(v, s, across, SUBTRACT_BY_ROWS)
  const first = await invert(gemm, upper)
  await gemm(across, v, first, { transB: true, ...SUBTRACT })
  setSymmetric(inverse, 0, 0, first)
  setSymmetric(inverse, 0, upper.n, across)
  setSymmetric(inverse, upper.n, upper.n, s)
  return inverse
}

/** Puts Lᵀ on the diagonal of `target`, from the row and column `first` on. */
function putUpper(target: Matrix, first: number, factor: Lower): void {
  const put = ({ data, rows, columns }: Matrix, i: number, j: number) => {
    for (let r = 0; r < rows; r++)
      target.data.set(data.subarray(r * columns, (r + 1) * columns), (i + r) * target.columns + j)
  }
  const { n } = factor
  if ('inverse' in factor) put(matrix(n, n, transposed(invertLower(factor.inverse).data, n)), first, first)
  else {
    putUpper(target, first, factor.upper)
    put(factor.belowT, first, first + factor.upper.n)
    putUpper(target, first + factor.upper.n, factor.lower)
  }
}

/** Puts the part of a block at (i, j) on and above the diagonal there, and its mirror image at (j, i). */
function setSymmetric({ data, columns: n }: Matrix, i: number, j: number, block: Matrix): void {
  for (let r = 0, at = 0; r < block.rows; r++)
    for (let c = 0; c < block.columns; c++, at++)
      if (i + r <= j + c) data[(i + r) * n + j + c] = data[(j + c) * n + i + r] = block.data[at]
}

/** Lower Cholesky factor of a small matrix, in place. False where a pivot is not positive. */
export function factorInPlace({ data, rows: n }: Matrix): boolean {
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
export function invertLower({ data, rows: n }: Matrix): Matrix {
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
