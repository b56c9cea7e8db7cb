import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CPU, describeOn, withBlas } from '../../../test/devices.ts'
import { openEngine } from '../engine.node.ts'
import type { Engine } from '../engine.ts'
import type { RowReader } from './cholesky.ts'
import { type Matrix, matrix } from './matrix.ts'

let engine: Engine

for (const on of [CPU, await withBlas()])
  describeOn(on, 'linear algebra in float64', () => {
    beforeAll(() => {
      engine = openEngine(on)
    })
    afterAll(() => engine.close())
    testAll()
  })

/** Deterministic values in [-1, 1). */
function random(rows: number, columns: number, seed: number): Matrix {
  let state = seed + 1
  return matrix(
    rows,
    columns,
    Float64Array.from({ length: rows * columns }, () => (state = (state * 48271) % 2147483647) / 1073741823.5 - 1),
  )
}

const rowsOfMatrix =
  (a: Matrix): RowReader =>
  (i, j, target) =>
    target.set(a.data.subarray(i * a.columns + j, i * a.columns + j + target.length))

const norm = (m: Matrix) => Math.sqrt(m.data.reduce((s, v) => s + v * v, 0))

async function gram(x: Matrix, damp: number): Promise<Matrix> {
  const a = matrix(x.columns, x.columns)
  await engine.linalg.gemm(x, x, a, { transA: true })
  for (let i = 0; i < a.rows; i++) a.data[i * a.rows + i] += damp
  return a
}

function testAll() {
  test('solves A X = B to machine precision, across block edges', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(0, 1, 2, 17, 127, 128, 129, 256, 300, 1100),
        fc.integer({ min: 1, max: 9 }),
        fc.nat(1e6),
        async (n, m, seed) => {
          const a = await gram(random(n + 3, n, seed), 0.5)
          const b = random(n, m, seed + 7)
          const x = matrix(n, m, b.data.slice())
          const factor = await engine.linalg.factor(n, rowsOfMatrix(a))
          await factor!.solve(x)
          const residual = matrix(n, m, b.data.slice())
          await engine.linalg.gemm(a, x, residual, { alpha: -1, accumulate: true })
          expect(norm(residual)).toBeLessThanOrEqual(1e-12 * norm(a) * norm(x))
        },
      ),
      { numRuns: 20 },
    )
  })

  test('inverts to machine precision, symmetric to the last bit', async () => {
    for (const n of [1, 100, 128, 129, 300, 1100]) {
      const a = await gram(random(n + 3, n, n), 0.5)
      const inverse = await (await engine.linalg.factor(n, rowsOfMatrix(a)))!.invert()
      const residual = matrix(n, n)
      for (let i = 0; i < n; i++) residual.data[i * (n + 1)] = 1
      await engine.linalg.gemm(a, inverse, residual, { alpha: -1, accumulate: true })
      expect(norm(residual)).toBeLessThanOrEqual(1e-12 * norm(a) * norm(inverse))
      expect(inverse.data.every((v, at) => v === inverse.data[(at % n) * n + Math.floor(at / n)])).toBe(true)
    }
  })

  test('gives its factor', async () => {
    for (const n of [1, 100, 129, 300]) {
      const a = await gram(random(n + 3, n, n), 0.5)
      const upper = (await engine.linalg.factor(n, rowsOfMatrix(a)))!.upper()
      const clean = matrix(
        n,
        n,
        upper.data.map((v, at) => (at % n < Math.floor(at / n) ? 0 : v)),
      )
      const residual = matrix(n, n, a.data.slice())
      await engine.linalg.gemm(clean, clean, residual, { transA: true, alpha: -1, accumulate: true })
      expect(norm(residual)).toBeLessThanOrEqual(1e-13 * norm(a))
    }
  })

  test('gemm works on views and transposes, and adds in place', async () => {
    const a = random(5, 3, 1)
    const b = random(4, 3, 2)
    const c = random(5, 4, 3)
    const expected = c.data.map((v, k) => {
      const [i, j] = [Math.floor(k / 4), k % 4]
      return v - [0, 1, 2].reduce((s, l) => s + a.data[i * 3 + l] * b.data[j * 3 + l], 0)
    })
    await engine.linalg.gemm(a, b, c, { transB: true, alpha: -1, accumulate: true })
    expect(
      norm(
        matrix(
          5,
          4,
          c.data.map((v, k) => v - expected[k]),
        ),
      ),
    ).toBeLessThan(1e-14)
  })

  test('says when a matrix is not positive definite', async () => {
    expect(await engine.linalg.factor(2, rowsOfMatrix(matrix(2, 2, Float64Array.of(1, 2, 2, 1))))).toBeUndefined()
    expect(await engine.linalg.factor(1, (_i, _j, target) => target.fill(Number.NaN))).toBeUndefined()
  })
}
