// Solves that go over ranks, in one process, are those of one alone, to the last bit.
import { afterAll, describe, expect, test } from 'vitest'
import { random } from '../../test/random.ts'
import { openEngine } from '../engine/engine.node.ts'
import type { Engine } from '../engine/engine.ts'
import { GroupError, UsageError } from '../errors.ts'
import type { RowReader } from '../linalg/cholesky.ts'
import { type Matrix, matrix } from '../linalg/matrix.ts'
import { inProcess } from './in-process.ts'
import { firstOutput, pays, solvesOver } from './solves.ts'

const engines = (['none', 'auto'] as const).map(blas => openEngine({ threads: 1, blas }))
afterAll(() => Promise.all(engines.map(engine => engine.close())))

/** A symmetric matrix that is far from singular, where `exact` of numbers that float32 has; but for its diagonal. */
function system(n: number, exact: boolean): RowReader {
  const noise = random(n * n, 1)
  const at = (i: number, j: number) =>
    (exact ? 1 : 1 / 3) * noise[Math.min(i, j) * n + Math.max(i, j)] + (i === j ? n / 3 : 0)
  return (i, from, target) => {
    for (let j = 0; j < target.length; j++) target[j] = at(i, from + j)
  }
}

const rightHandSides = (n: number, columns: number, exact: boolean): Matrix =>
  matrix(
    n,
    columns,
    Float64Array.from(random(n * columns, 2), value => (exact ? value : value / 3)),
  )

/** What the root decides: solves for so many columns at once. */
async function solved(engine: Engine, n: number, columns: readonly number[], exact = true) {
  const factor = (await engine.linalg.factor(
    n,
    system(n, exact),
    columns.reduce((sum, one) => sum + one, 0),
  ))!
  const all: Matrix[] = []
  for (const count of columns) {
    const b = rightHandSides(n, count, exact)
    await factor.solve(b)
    all.push(b)
  }
  return all.map(({ data }) => data)
}

/** An engine that counts what it factors, drops and solves. */
function counting(engine: Engine) {
  const counts = { factored: 0, dropped: 0, columns: 0 }
  const factor: Engine['linalg']['factor'] = async (n, read) => {
    counts.factored++
    const made = await engine.linalg.factor(n, read)
    if (!made) return undefined
    const solve = (b: Matrix) => {
      counts.columns += b.columns
      return made.solve(b)
    }
    return { ...made, solve, drop: () => void counts.dropped++ }
  }
  return { counts, engine: { ...engine, linalg: { ...engine.linalg, factor } } as Engine }
}

describe.each([...engines.entries()])('engine %i', (_, engine) => {
  test.each([
    [2, 300, [128, 128], true],
    [3, 300, [256, 64], true],
    [4, 170, [192], false],
  ] as const)('%i ranks: %i unknowns, %o outputs at once, in float32 %s', async (ranks, n, columns, exact) => {
    const wanted = await solved(engine, n, columns, exact)
    const all = inProcess(ranks, { outputs: 64, chunk: 4096 }).map(group => ({ group, ...counting(engine) }))
    const found = await Promise.all(
      all.map(({ group, engine }) => {
        const shares = solvesOver(engine, group)
        return group.decide(() => solved(shares, n, columns, exact))
      }),
    )
    for (const one of found) expect(one).toEqual(wanted)
    const total = columns.reduce((sum, one) => sum + one, 0)
    expect(all.map(({ counts }) => counts.factored)).toEqual(new Array(ranks).fill(1))
    expect(all.map(({ counts }) => counts.dropped)).toEqual([0, ...new Array(ranks - 1).fill(1)]) // the root's is its caller's
    expect(all.reduce((sum, { counts }) => sum + counts.columns, 0)).toBe(total)
    for (const [rank, { counts }] of all.entries())
      expect(counts.columns).toBe(
        columns.reduce((sum, one) => sum + firstOutput(rank + 1, ranks, one) - firstOutput(rank, ranks, one), 0),
      )
    const [float32, float64] = exact ? [4, 4] : [8, 8]
    const sent = (float32 * n * (n - 1)) / 2 + 8 * n + float64 * n * (total - all[0].counts.columns)
    expect(all[0].group.bytes - sent).toBeGreaterThan(total * n * 8) // the decision itself
    expect(all[0].group.bytes - sent).toBeLessThan(total * n * 8 + 4096)
    for (const { group, counts } of all.slice(1)) {
      expect(group.bytes - 8 * n * counts.columns).toBeGreaterThanOrEqual(0)
      expect(group.bytes - 8 * n * counts.columns).toBeLessThan(64)
    }
  })
})

test('what is not positive definite is not for any rank, and what is tried after it is solved', async () => {
  const [engine] = engines
  const bad: RowReader = (i, from, target) => {
    for (let j = 0; j < target.length; j++) target[j] = i === from + j ? -1 : 0
  }
  const found = await Promise.all(
    inProcess(3, { outputs: 64 }).map(group => {
      const { linalg } = solvesOver(engine, group)
      return group.decide(async () => {
        const none = await linalg.factor(100, bad, 128)
        return { none: none === undefined, all: await solved({ ...engine, linalg }, 100, [128]) }
      })
    }),
  )
  const wanted = { none: true, all: await solved(engine, 100, [128]) }
  for (const one of found) expect(one).toEqual(wanted)
})

test('a rank for which a matrix is not positive definite speaks for all', async () => {
  const [engine] = engines
  const weak: Engine = { ...engine, linalg: { ...engine.linalg, factor: async () => undefined } }
  const strong = counting(engine)
  const found = await Promise.all(
    inProcess(2, { outputs: 64 }).map(group => {
      const { linalg } = solvesOver(group.rank === 1 ? weak : strong.engine, group)
      return group.decide(async () => (await linalg.factor(100, system(100, true), 128)) === undefined)
    }),
  )
  expect(found).toEqual([true, true])
  expect(strong.counts).toEqual({ factored: 1, dropped: 1, columns: 0 })
})

test('small solves, and those that nobody was told of, are of the root alone', async () => {
  const all = inProcess(2).map(group => ({ group, ...counting(engines[0]) }))
  await Promise.all(
    all.map(({ group, engine }) => {
      const shares = solvesOver(engine, group)
      return group.decide(async () => void (await solved(shares, 100, [128])))
    }),
  )
  expect(all.map(({ counts }) => counts)).toEqual([
    { factored: 1, dropped: 0, columns: 128 },
    { factored: 0, dropped: 0, columns: 0 },
  ])
})

/** What each rank throws where the engine of one fails. */
async function failing(of: number, factors: boolean): Promise<unknown[]> {
  const broken = (engine: Engine): Engine => ({
    ...engine,
    linalg: {
      ...engine.linalg,
      async factor(n, read) {
        if (factors) throw new UsageError('no memory')
        const factor = await engine.linalg.factor(n, read)
        return factor && { ...factor, solve: () => Promise.reject(new UsageError('no memory')) }
      },
    },
  })
  return Promise.all(
    inProcess(3, { outputs: 64 }).map(async group => {
      try {
        const engine = solvesOver(group.rank === of ? broken(engines[0]) : engines[0], group)
        return await group.decide(() => solved(engine, 100, [192]))
      } catch (error) {
        expect(await group.fail(error)).toBe(true)
        return error
      }
    }),
  )
}

test.each([
  ['another fails to factor', 1, true],
  ['another fails to solve', 2, false],
  ['the root fails to factor', 0, true],
  ['the root fails to solve', 0, false],
])('%s: all end', async (_, of, factors) => {
  const errors = await failing(of, factors)
  for (const [rank, error] of errors.entries())
    if (rank === of) expect(error).toBeInstanceOf(UsageError)
    else {
      expect(error).toBeInstanceOf(GroupError)
      expect((error as GroupError).message).toBe(`rank ${of} of 3: no memory`)
    }
})

test('a solve pays where it is large, and its outputs go up evenly', () => {
  const ffn = { n: 20070, outputs: 8192, bytes: 4 } as const // of 70B, cut by 30 %
  expect([2, 8, 64].map(ranks => pays(ffn, ranks))).toEqual([true, true, true])
  expect(pays({ ...ffn, n: 7705, outputs: 4096 }, 8)).toBe(false) // of 7B
  expect(pays({ ...ffn, outputs: 8000 + 1 }, 8)).toBe(false)
  expect(pays({ ...ffn, outputs: 0 }, 8)).toBe(false)
  expect(pays({ ...ffn }, 8, Number.POSITIVE_INFINITY)).toBe(false)
  const firsts = Array.from({ length: 6 }, (_, rank) => firstOutput(rank, 5, 1024))
  expect(firsts).toEqual([0, 192, 384, 576, 768, 1024])
})
