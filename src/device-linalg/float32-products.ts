// Products of matrices in float64 by a device that has them in float32 alone: factors go over rounded, what comes back is added up here in
// float64. By halves (linalg/cholesky.ts) that is a blocked factorisation with panels in float64 and trailing products in float32. It errs as
// if the matrix had been rounded to float32, as a Gram matrix was when it was added up; a factor is tried on a vector that is known. Whether
// the way over is worth it some rows of a product of each size show, both ways. Splitting without error (Ozaki, Ogita, Oishi & Rump,
// Numer. Algorithms 59, 2012) takes ten products for each, and the columns and weights that come of it are the same (docs/log.md).
import type { Floats } from '../formats/tensors.ts'
import { cholesky, type Factor, type RowReader } from '../linalg/cholesky.ts'
import { type Doubles, type Gemm, type Matrix, matrix, rowsOf } from '../linalg/matrix.ts'
import { transposed } from '../linalg/scatter.ts'

/** Some rows of one product, both ways. */
export interface Trial {
  readonly hostSeconds: number
  readonly deviceSeconds: number
  /** Norm of the difference, as a part of the product's. */
  readonly difference: number
}

export interface Float32Options {
  /** Whether a size is the device's from now on. @default isBetter */
  readonly takes?: (trial: Trial) => boolean
  /** Multiplications of the smallest product that is tried. @default 2²⁷, below which neither way takes long */
  readonly least?: number
}

const LEAST = 2 ** 27
/** Elements that come back at once, and of what is kept for the next product: 64 MB. */
const PART = 2 ** 24
/** Elements of the rows that are tried. */
const SAMPLE = 2 ** 22
/** Less is not worth the digits. */
const GAIN = 1.5
/** In float32 it is 1e-7 to 1e-6; TF32 and bfloat16 have 1e-3. */
const NEAR = 1e-5
/** Error of a vector that is solved for, as a part of it: a repair's own error grows by its square. */
const SOLVED = 1e-3

export const isBetter = ({ hostSeconds, deviceSeconds, difference }: Trial): boolean =>
  difference < NEAR && GAIN * deviceSeconds < hostSeconds

/**
 * Makes products in float64 by those in float32, in sizes in which one was better so; all others stay as they are.
 * @param gemm in float32 it is the device's, in float64 the host's
 * @example
 * const fast = gemmInFloat32(gemm)
 * await fast(matrix(m, k, a), matrix(k, n, b), c, { alpha: -1, accumulate: true }) // C ← C − A B
 */
export function gemmInFloat32(gemm: Gemm, { takes = isBetter, least = LEAST }: Float32Options = {}): Gemm {
  const taken = new Map<string, boolean>() // by size
  let spare = new Map<string, Floats>() // fresh pages cost more than what is written to them
  return async (a, b, c, options = {}) => {
    const { transA, transB, alpha = 1, accumulate = false, kind = 'gemm64' } = options
    const [m, n, k] = [c.rows, c.columns, transA ? a.rows : a.columns]
    const size = [m, n, k].map(length => Math.ceil(Math.log2(length))).join(' ')
    if (!isDouble(a) || !isDouble(b) || !isDouble(c) || m * n * k < least || taken.get(size) === false)
      return gemm(a, b, c, options)
    const rooms = spare
    spare = new Map() // of a product that begins before this one ends
    const roomFor = (name: string, rows: number, columns: number) => {
      let data = rooms.get(name)
      if (!data || data.length < rows * columns) rooms.set(name, (data = new Float32Array(rows * columns)))
      return matrix(rows, columns, data.subarray(0, rows * columns))
    }
    const rounded = (name: string, of: Matrix) => {
      const room = roomFor(name, of.rows, of.columns)
      room.data.set(of.data)
      return room
    }
    const started = performance.now()
    const whole = transA ? matrix(m, k, transposed(a.data, m)) : a
    const [left, right] = [rounded('left', whole), rounded('right', b)]
    const prepared = performance.now() - started
    /** Of the product the rows from there on, as many. */
    const inFloat32 = async (from: number, rows: number): Promise<Floats> => {
      const y = roomFor('product', rows, n)
      await gemm(rowsOf(left, from, from + rows), right, y, { transB, rows, kind })
      return y.data
    }
    let from = 0
    if (!taken.has(size)) {
      from = Math.min(m, rowsIn(SAMPLE, n))
      const exact = matrix(from, n)
      const hostSeconds = await leastSeconds(() => gemm(rowsOf(whole, 0, from), b, exact, { transB, kind }))
      const found = await tried(() => inFloat32(0, from), exact.data)
      const adding = await secondsOf(() => add(c.data, exact.data, alpha, accumulate))
      const deviceSeconds = found.seconds + adding + ((prepared / 1000) * from) / m
      taken.set(size, takes({ hostSeconds, deviceSeconds, difference: found.difference }))
    }
    if (!taken.get(size)) return gemm(rowsOf(whole, from), b, rowsOf(c, from), { ...options, transA: false })
    for (; from < m; from += rowsIn(PART, n)) {
      const p = await inFloat32(from, Math.min(m - from, rowsIn(PART, n)))
      add(rowsOf(c, from).data, p, alpha, accumulate)
    }
    for (const [name, { length }] of rooms) if (length > PART) rooms.delete(name)
    spare = rooms
  }
}

const rowsIn = (elements: number, columns: number): number => Math.max(1, Math.floor(elements / columns))

/**
 * Factors by `gemm`, where a vector that is known comes out of the factor, and by `host` where it does not.
 * @returns undefined where the matrix [n, n] is not positive definite in float64
 */
export async function factorChecked(gemm: Gemm, host: Gemm, n: number, read: RowReader): Promise<Factor | undefined> {
  const factor = await cholesky(gemm, n, read)
  return factor && (await solves(factor, n, read)) ? factor : cholesky(host, n, read)
}

/** Whether A x = A v gives v back, of ones with signs that do not repeat. */
async function solves(factor: Factor, n: number, read: RowReader): Promise<boolean> {
  const v = Float64Array.from({ length: n }, (_, i) => Math.sign(Math.sin(i * i + 1)))
  const x = matrix(n, 1)
  const row = new Float64Array(n)
  for (let i = 0; i < n; i++) {
    read(i, i, row.subarray(i))
    x.data[i] += row[i] * v[i]
    for (let j = i + 1; j < n; j++) {
      x.data[i] += row[j] * v[j]
      x.data[j] += row[j] * v[i]
    }
  }
  await factor.solve(x)
  return differenceOf(x.data, v) < SOLVED
}

/** A device that cannot is no better. */
async function tried(run: () => Promise<Floats>, exact: Doubles): Promise<{ seconds: number; difference: number }> {
  try {
    let found = new Float32Array(0)
    const seconds = await leastSeconds(async () => {
      found = await run()
    })
    return { seconds, difference: differenceOf(found, exact) }
  } catch {
    return { seconds: Number.POSITIVE_INFINITY, difference: Number.POSITIVE_INFINITY }
  }
}

/** `‖a − b‖ / ‖b‖`; not a number where one of them is not. */
function differenceOf(a: Floats | Doubles, b: Doubles): number {
  let [difference, square] = [0, 0]
  for (let i = 0; i < b.length; i++) {
    difference += (a[i] - b[i]) ** 2
    square += b[i] ** 2
  }
  return square > 0 ? Math.sqrt(difference / square) : difference
}

/** `c ← α p`, or `c ← c + α p`, of as many as there are in `p`. */
function add(c: Doubles, p: Floats | Doubles, alpha: 1 | -1, accumulate: boolean): void {
  if (!accumulate) c.fill(0, 0, p.length)
  if (alpha > 0) for (let i = 0; i < p.length; i++) c[i] += p[i]
  else for (let i = 0; i < p.length; i++) c[i] -= p[i]
}

/** Of two, as the first makes sessions and shaders, and either may be held up. */
const leastSeconds = async (call: () => unknown) => Math.min(await secondsOf(call), await secondsOf(call))

async function secondsOf(call: () => unknown): Promise<number> {
  const started = performance.now()
  await call()
  return (performance.now() - started) / 1000
}

const isDouble = (m: Matrix<Floats | Doubles>): m is Matrix => m.data instanceof Float64Array
