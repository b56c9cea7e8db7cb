// Products in float64 by those in float32: on the CPU, taken for a device.
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { openEngine } from '../engine/engine.node.ts'
import { graphLinalg } from '../engine/linalg-graphs.ts'
import type { RowReader } from '../linalg/cholesky.ts'
import { type Gemm, type Matrix, matrix } from '../linalg/matrix.ts'
import { factorChecked, gemmInFloat32, isBetter, type Trial } from './float32-products.ts'

const engine = openEngine({ threads: 1, blas: false })
afterAll(() => engine.close())
const { gemm } = graphLinalg(engine.run)

/** All products by the device. */
const ALWAYS = { takes: () => true, least: 0 }

function random(rows: number, columns: number, seed: number): Matrix {
  let state = seed + 1
  const next = () => (state = (state * 48271) % 2147483647) / 1073741823.5 - 1
  return matrix(rows, columns, Float64Array.from({ length: rows * columns }, next))
}

const copyOf = (m: Matrix): Matrix => matrix(m.rows, m.columns, m.data.slice())

const difference = (a: Float64Array, b: Float64Array) => Math.hypot(...a.map((v, i) => v - b[i])) / Math.hypot(...b)

/** Whose products in float32 are wrong by this part. */
const wrongBy =
  (part: number): Gemm =>
  async (a, b, c, options) => {
    await gemm(a, b, c, options)
    if (c.data instanceof Float32Array) for (let i = 0; i < c.data.length; i++) c.data[i] *= 1 + part
  }

test('products of all kinds, the first of a size and others, are those in float64 to six digits', async () => {
  const dimension = fc.integer({ min: 1, max: 40 })
  const options = fc.record({
    ...{ transA: fc.boolean(), transB: fc.boolean(), accumulate: fc.boolean() },
    alpha: fc.constantFrom(1 as const, -1 as const),
  })
  await fc.assert(
    fc.asyncProperty(dimension, dimension, dimension, options, fc.nat(1e6), async (m, n, k, options, seed) => {
      const { transA, transB } = options
      const a = transA ? random(k, m, seed) : random(m, k, seed)
      const b = transB ? random(n, k, seed + 1) : random(k, n, seed + 1)
      const c = random(m, n, seed + 2)
      const expected = copyOf(c)
      await gemm(a, b, expected, options)
      const fast = gemmInFloat32(gemm, ALWAYS)
      for (const _ of ['first', 'other']) {
        const found = copyOf(c)
        await fast(a, b, found, options)
        for (const [i, v] of found.data.entries()) expect(Math.abs(v - expected.data[i])).toBeLessThan(1e-6 * (k + 1))
      }
    }),
    { numRuns: 30 },
  )
})

test('tall products go in parts, of which each row is there once', async () => {
  const [m, n] = [11, 2 ** 21] // 2 rows are tried, and 8 go at once
  const c = matrix(m, n, new Float64Array(m * n).fill(1))
  const [a, b] = [
    matrix(
      m,
      1,
      Float64Array.from({ length: m }, (_, i) => i),
    ),
    matrix(1, n, new Float64Array(n).fill(2)),
  ]
  await gemmInFloat32(gemm, ALWAYS)(a, b, c, { alpha: -1, accumulate: true })
  for (let i = 0; i < m; i++) expect(new Set(c.data.subarray(i * n, (i + 1) * n))).toEqual(new Set([1 - 2 * i]))
})

test('a size is tried once, and stays the host’s to the last bit where that is no worse', async () => {
  const trials: Trial[] = []
  const takes = (trial: Trial) => trials.push(trial) < 0
  const fast = gemmInFloat32(gemm, { takes, least: 33 ** 3 })
  const [a, b, expected] = [random(33, 33, 1), random(33, 33, 2), matrix(33, 33)]
  await gemm(a, b, expected)
  for (const _ of ['first', 'other']) {
    const found = matrix(33, 33)
    await fast(a, b, found)
    expect(found).toEqual(expected)
  }
  expect(trials).toHaveLength(1)
  expect(trials[0].hostSeconds).toBeGreaterThan(0)
  expect(trials[0].deviceSeconds).toBeGreaterThan(0)
  expect(trials[0].difference).toBeGreaterThan(0)
  expect(trials[0].difference).toBeLessThan(1e-6)
  await fast(random(32, 33, 1), b, matrix(32, 33)) // smaller
  expect(trials).toHaveLength(1)
  await fast(random(65, 33, 1), b, matrix(65, 33))
  expect(trials).toHaveLength(2)
})

test('what is slow, rounded to ten bits, or fails is not taken', async () => {
  const good = { hostSeconds: 2, deviceSeconds: 1, difference: 1e-7 }
  expect(isBetter(good)).toBe(true)
  for (const worse of [{ deviceSeconds: 1.5 }, { difference: 1e-3 }, { difference: Number.NaN }])
    expect(isBetter({ ...good, ...worse })).toBe(false)
  const failing: Gemm = async (a, b, c, options) => {
    if (c.data instanceof Float32Array) throw new Error('out of memory')
    await gemm(a, b, c, options)
  }
  const trials: Trial[] = []
  const takes = (trial: Trial) => trials.push(trial) > 0 && isBetter(trial)
  const [a, b, expected, found] = [random(9, 9, 1), random(9, 9, 2), matrix(9, 9), matrix(9, 9)]
  await gemm(a, b, expected)
  await gemmInFloat32(failing, { takes, least: 0 })(a, b, found)
  expect(found).toEqual(expected)
  await gemmInFloat32(wrongBy(1e-3), { takes, least: 0 })(a, b, found)
  expect(found).toEqual(expected)
  expect(trials[0].deviceSeconds).toBe(Number.POSITIVE_INFINITY)
  expect(trials[1].difference).toBeCloseTo(1e-3, 6)
})

/** Σ v vᵀ of as many as there are rows, and what is added to its diagonal. */
async function gramOf(n: number, damping: number): Promise<{ a: Matrix; read: RowReader }> {
  const [x, a] = [random(n, n, 3), matrix(n, n)]
  await gemm(x, x, a, { transA: true })
  for (let i = 0; i < n; i++) a.data[i * (n + 1)] += damping
  return { a, read: (i, j, target) => target.set(a.data.subarray(i * n + j, i * n + j + target.length)) }
}

test('a factor solves and inverts to five digits, and is the host’s where it does not', async () => {
  const n = 300
  const { a, read } = await gramOf(n, n / 10)
  const v = random(n, 20, 5)
  const errors = async (of: Gemm) => {
    const x = matrix(n, 20)
    await gemm(a, v, x)
    const factor = await factorChecked(gemmInFloat32(of, ALWAYS), gemm, n, read)
    await factor!.solve(x)
    const unit = matrix(n, n)
    await gemm(a, await factor!.invert(), unit)
    return [difference(x.data, v.data), Math.max(...unit.data.map((u, i) => Math.abs(u - +(i % (n + 1) === 0))))]
  }
  for (const error of await errors(gemm)) {
    expect(error).toBeGreaterThan(1e-9) // in float32 it was
    expect(error).toBeLessThan(1e-5)
  }
  for (const error of await errors(wrongBy(-0.01))) expect(error).toBeLessThan(1e-11)
  const { a: other, read: indefinite } = await gramOf(n, 0)
  other.data[n * n - 1] = -1
  expect(await factorChecked(gemmInFloat32(gemm, ALWAYS), gemm, n, indefinite)).toBeUndefined()
})
