import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { statisticsOf } from '../../../test/made-statistics.ts'
import { random } from '../../../test/random.ts'
import { openEngine } from '../../engine/engine.node.ts'
import { restoreColumns } from '../restore/least-squares.ts'
import { columnScores } from '../score/column.ts'
import { eliminate } from './eliminate.ts'
import { keepTop } from './top.ts'

const engine = openEngine()
afterAll(() => engine.close())

/** Least squares by Gaussian elimination: the smallest ‖H_M W'ᵀ + 1 cᵀ − Y‖² + δ‖W' − W‖² over all columns, W' zero outside M. */
function directError(
  h: Float32Array,
  y: Float64Array,
  weight: Float32Array,
  kept: Int32Array,
  tokens: number,
  damping: number,
  center: boolean,
): number {
  const [width, out] = [h.length / tokens, y.length / tokens]
  const centred = (data: ArrayLike<number>, columns: number) => {
    const result = Float64Array.from(data)
    if (center)
      for (let j = 0; j < columns; j++) {
        let mean = 0
        for (let t = 0; t < tokens; t++) mean += result[t * columns + j] / tokens
        for (let t = 0; t < tokens; t++) result[t * columns + j] -= mean
      }
    return result
  }
  const [hc, yc] = [centred(h, width), centred(y, out)]
  const m = kept.length
  const rows = Array.from(kept, i => {
    const row = new Float64Array(m + out)
    for (let t = 0; t < tokens; t++) {
      for (let k = 0; k < m; k++) row[k] += hc[t * width + i] * hc[t * width + kept[k]]
      for (let o = 0; o < out; o++) row[m + o] += hc[t * width + i] * yc[t * out + o]
    }
    for (let o = 0; o < out; o++) row[m + o] += damping * weight[o * width + i]
    return row
  })
  for (let i = 0; i < m; i++) {
    rows[i][i] += damping
    for (let k = 0; k < i; k++) {
      const factor = rows[i][k] / rows[k][k]
      for (let c = k; c < m + out; c++) rows[i][c] -= factor * rows[k][c]
    }
  }
  for (let i = m - 1; i >= 0; i--)
    for (let o = m; o < m + out; o++) {
      for (let k = i + 1; k < m; k++) rows[i][o] -= rows[i][k] * rows[k][o]
      rows[i][o] /= rows[i][i]
    }
  let error = 0
  for (let t = 0; t < tokens; t++)
    for (let o = 0; o < out; o++) {
      let value = -yc[t * out + o]
      for (let k = 0; k < m; k++) value += hc[t * width + kept[k]] * rows[k][m + o]
      error += value * value
    }
  for (let o = 0; o < out; o++)
    for (let j = 0; j < width; j++) {
      const k = kept.indexOf(j)
      error += damping * ((k < 0 ? 0 : rows[k][m + o]) - weight[o * width + j]) ** 2
    }
  return error
}

const single = (n: number) => Array.from({ length: n }, (_, j) => [j])

describe('the errors of elimination are those of direct least squares on the same columns', () => {
  const OUT = 5
  test.each([
    ['pruned target', false, false],
    ['centred', false, true],
    ['dense target', true, false],
    ['dense target, centred', true, true],
  ])('%s', async (_, dense, center) => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 3, max: 24 }), fc.nat(1e6), fc.constantFrom(1, 3), async (n, seed, r) => {
        const width = n * r
        const tokens = 3 * width
        const h = random(tokens * width, seed).map((v, i) => v + (i % 5) * 0.2)
        const weight = random(OUT * width, seed + 1)
        const gap = dense ? random(tokens * OUT, seed + 2) : undefined
        const statistics = statisticsOf(h, tokens, gap)
        const groups = Array.from({ length: n }, (_, g) => Array.from({ length: r }, (_, i) => i * n + g))
        const keep = Math.max(1, Math.floor(n / 2))
        const { kept, order, curve } = await eliminate(engine, weight, statistics, groups, keep, {
          damp: 0.02,
          center,
          layer: 'made',
        })
        expect([...kept, ...order].sort((a, b) => a - b)).toEqual([...Array(n).keys()])
        const y = new Float64Array(tokens * OUT)
        for (let t = 0; t < tokens; t++)
          for (let o = 0; o < OUT; o++) {
            for (let j = 0; j < width; j++) y[t * OUT + o] += h[t * width + j] * weight[o * width + j]
            y[t * OUT + o] += gap?.[t * OUT + o] ?? 0
          }
        let diagonal = 0
        for (let j = 0; j < width; j++)
          diagonal += statistics.gram[j * (width + 1)] - (center ? tokens * statistics.mean[j] ** 2 : 0)
        const damping = (0.02 * diagonal) / width
        const error = (removed: number) => {
          const gone = new Set(order.slice(0, removed))
          const columns = groups.flatMap((group, g) => (gone.has(g) ? [] : group)).sort((a, b) => a - b)
          return directError(h, y, weight, Int32Array.from(columns), tokens, damping, center)
        }
        const start = error(0)
        for (const point of [curve[1], curve[curve.length - 1]])
          expect(Math.abs(start + point.error - error(point.removed))).toBeLessThan(1e-4 * error(point.removed))
        // The first to go is the one whose removal costs least, by trying all.
        const each = groups.map((_, g) => {
          const columns = groups.flatMap((group, k) => (k === g ? [] : group)).sort((a, b) => a - b)
          return directError(h, y, weight, Int32Array.from(columns), tokens, damping, center)
        })
        expect(each[order[0]]).toBeLessThanOrEqual(Math.min(...each) * (1 + 1e-5))
      }),
      { numRuns: 8 },
    )
  })
})

test('restoration of what it keeps reaches its error', async () => {
  const [width, out, tokens] = [40, 6, 200]
  const weight = random(out * width, 2)
  const statistics = statisticsOf(random(tokens * width, 1), tokens)
  const options = { damp: 0, center: false, restore: true, layer: 'made' }
  const { kept, curve } = await eliminate(engine, weight, statistics, single(width), 25, options)
  const restored = await restoreColumns(engine, { weight }, statistics, kept, options)
  let energy = 0 // ⟨W G, W⟩
  for (let o = 0; o < out; o++)
    for (let i = 0; i < width; i++)
      for (let j = 0; j < width; j++)
        energy += weight[o * width + i] * statistics.gram[i * width + j] * weight[o * width + j]
  expect((restored.errorAfter * energy) / curve[curve.length - 1].error).toBeCloseTo(1, 4)
})

test('columns that others can stand in for go first, however large their column score', async () => {
  // Eight large columns, of which four are copies, and eight small ones of their own: the column score drops the small ones.
  const [tokens, width, out] = [200, 16, 8]
  const own = random(tokens * 12, 3)
  const h = new Float32Array(tokens * width)
  for (let t = 0; t < tokens; t++)
    for (let j = 0; j < width; j++)
      h[t * width + j] = j < 4 ? own[t * 12 + j] : j < 8 ? own[t * 12 + j - 4] : 0.3 * own[t * 12 + j - 4]
  const weight = random(out * width, 4)
  const statistics = statisticsOf(h, tokens)
  const options = { damp: 1e-6, center: false, restore: true, layer: 'made' }
  const byScore = keepTop(columnScores(weight, statistics), 12)
  const { kept } = await eliminate(engine, weight, statistics, single(width), 12, options)
  const error = async (columns: Int32Array<ArrayBuffer>) =>
    (await restoreColumns(engine, { weight }, statistics, columns, options)).errorAfter
  expect([...byScore].filter(j => j >= 8)).toHaveLength(4)
  expect([...kept].filter(j => j >= 8)).toHaveLength(8)
  // Where correlations hardly count, a copy is not trusted to stand in for the other.
  const wary = await eliminate(engine, weight, statistics, single(width), 12, { ...options, shrinkage: 0.99 })
  expect([...wary.kept].filter(j => j >= 8)).toHaveLength(4)
  expect(await error(kept)).toBeLessThan(1e-6 * (await error(byScore)))
})

test('each class keeps its number', async () => {
  const statistics = statisticsOf(random(60 * 12, 5), 60)
  const { kept } = await eliminate(engine, random(4 * 12, 6), statistics, single(12), 6, {
    damp: 0.01,
    center: false,
    layer: 'made',
    classes: { size: 4, keep: 2 },
  })
  for (const first of [0, 4, 8]) expect([...kept].filter(j => j >= first && j < first + 4)).toHaveLength(2)
})

test('a column that never fires takes some damping, and the result says how much', async () => {
  const statistics = statisticsOf(
    random(60 * 6, 8).map((v, i) => (i % 6 === 2 ? 0 : v)),
    60,
  )
  const options = { damp: 0, center: false, layer: 'made' }
  const { kept, damp } = await eliminate(engine, random(4 * 6, 9), statistics, single(6), 5, options)
  expect([...kept]).toEqual([0, 1, 3, 4, 5])
  expect(damp).toBe(1e-8)
})

test('activations that are all zero: some columns go, at no cost', async () => {
  const zero = { width: 6, tokens: 3, gram: new Float32Array(36), mean: new Float64Array(6) }
  const { kept } = await eliminate(engine, random(12, 7), zero, single(6), 2, { damp: 0.01, center: false, layer: 'x' })
  expect(kept).toHaveLength(2)
})
