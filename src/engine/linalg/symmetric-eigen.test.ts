import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type Matrix, matrix } from './matrix.ts'
import { symmetricEigen } from './symmetric-eigen.ts'

/** Deterministic symmetric matrix of `rank` dyads with values in [-1, 1). */
function symmetric(n: number, rank: number, seed: number): Matrix {
  let state = seed + 1
  const next = () => (state = (state * 48271) % 2147483647) / 1073741823.5 - 1
  const a = matrix(n, n)
  for (let r = 0; r < rank; r++) {
    const v = Float64Array.from({ length: n }, next)
    const sign = next() < 0 ? -1 : 1
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) a.data[i * n + j] += sign * v[i] * v[j]
  }
  return a
}

const norm = (data: Float64Array) => Math.sqrt(data.reduce((s, v) => s + v * v, 0))

test('V A Vᵀ is diagonal and descending, V is orthonormal, trace and norm stay', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 40 }), fc.nat(1e6), (n, rank, seed) => {
      const a = symmetric(n, rank, seed)
      const { values, vectors } = symmetricEigen(a)
      const scale = 1e-13 * n * (1 + norm(a.data))
      const row = (i: number) => vectors.data.subarray(i * n, (i + 1) * n)
      for (let i = 0; i < n; i++) {
        const image = Float64Array.from({ length: n }, (_, r) =>
          row(i).reduce((s, v, c) => s + a.data[r * n + c] * v, 0),
        )
        for (let j = 0; j < n; j++) {
          const dot = row(j).reduce((s, v, c) => s + v * row(i)[c], 0)
          expect(Math.abs(dot - (i === j ? 1 : 0))).toBeLessThan(1e-13 * n)
          const element = row(j).reduce((s, v, c) => s + v * image[c], 0)
          expect(Math.abs(element - (i === j ? values[i] : 0))).toBeLessThan(scale)
        }
        if (i > 0) expect(values[i]).toBeLessThanOrEqual(values[i - 1])
      }
      const trace = Array.from({ length: n }, (_, i) => a.data[i * n + i]).reduce((s, v) => s + v, 0)
      expect(Math.abs(values.reduce((s, v) => s + v, 0) - trace)).toBeLessThan(scale)
      expect(Math.abs(norm(values) - norm(a.data))).toBeLessThan(scale)
    }),
    { numRuns: 40 },
  )
})

test('known spectra: the second difference matrix, and multiples of the identity', () => {
  const n = 12
  const a = matrix(n, n)
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) a.data[i * n + j] = i === j ? 2 : Math.abs(i - j) === 1 ? -1 : 0
  const { values } = symmetricEigen(a)
  for (let k = 0; k < n; k++) expect(values[k]).toBeCloseTo(2 - 2 * Math.cos((Math.PI * (n - k)) / (n + 1)), 13)
  const same = symmetricEigen(matrix(2, 2, Float64Array.of(3, 0, 0, 3)))
  expect([...same.values]).toEqual([3, 3])
})
