// Elimination over ranks, in one process: the columns that one alone keeps, at its costs but for rounding.
import { afterAll, describe, expect, test } from 'vitest'
import { statisticsOf } from '../../test/made-statistics.ts'
import { random } from '../../test/random.ts'
import { openEngine } from '../engine/engine.node.ts'
import type { Engine } from '../engine/engine.ts'
import { GroupError, UsageError } from '../errors.ts'
import { type EliminateOptions, type Elimination, eliminate } from '../select/eliminate.ts'
import { inProcess } from './in-process.ts'
import { paysToEliminate, solvesOver } from './solves.ts'

const engines = (['none', 'auto'] as const).map(blas => openEngine({ threads: 1, blas }))
afterAll(() => Promise.all(engines.map(engine => engine.close())))

const OUT = 20
const weightOf = (width: number) => random(OUT * width, 2)

/** @param gap there is a dense stream */
function observed(width: number, gap: boolean) {
  const tokens = 2 * width
  const h = random(tokens * width, 1).map((v, i) => v + 0.1 * (i % 7))
  return statisticsOf(h, tokens, gap ? random(tokens * OUT, 3) : undefined)
}

const single = (n: number) => Array.from({ length: n }, (_, j) => [j])
const OPTIONS: EliminateOptions = { damp: 0.01, center: false, shrinkage: 0.1, layer: 'made' }

/** What each rank's `eliminate` would do, at the root. */
function eliminated(engine: Engine, width: number, gap: boolean, options = OPTIONS, groups = single(width)) {
  return eliminate(engine, weightOf(width), observed(width, gap), groups, Math.ceil(groups.length / 2), options)
}

const near = (found: Elimination, wanted: Elimination) => {
  expect(found.kept).toEqual(wanted.kept)
  expect([...found.order].sort((a, b) => a - b)).toEqual([...wanted.order].sort((a, b) => a - b))
  expect(found.damp).toBe(wanted.damp)
  for (const [i, { removed, error }] of wanted.curve.entries()) {
    expect(found.curve[i].removed).toBe(removed)
    expect(Math.abs(found.curve[i].error - error)).toBeLessThanOrEqual(1e-9 * Math.abs(error))
  }
}

describe.each([...engines.entries()])('engine %i', (_, engine) => {
  test.each([
    [2, 160, false, false],
    [3, 160, true, false],
    [4, 96, true, true], // three have rows
  ])('%i ranks: %i columns, of a dense stream %s, centred %s', async (ranks, width, gap, center) => {
    const options = { ...OPTIONS, center }
    const wanted = await eliminated(engine, width, gap, options)
    const groups = inProcess(ranks, { outputs: 32, chunk: 4096 })
    const held = new Set<object>() // inverted ones
    const factor: Engine['linalg']['factor'] = async (n, read) => {
      const made = await engine.linalg.factor(n, read)
      if (n !== width || !made) return made
      held.add(made)
      return { ...made, drop: () => void held.delete(made) }
    }
    const found = await Promise.all(
      groups.map(group => {
        const shares = solvesOver({ ...engine, linalg: { ...engine.linalg, factor } }, group)
        return group.decide(() => eliminated(shares, width, gap, options))
      }),
    )
    for (const one of found) near(one, wanted)
    expect(held.size).toBe(0)
    for (const group of groups.slice(1, Math.ceil(width / 32))) expect(group.bytes).toBeGreaterThan(8 * width * 10)
  })
})

test('a matrix that is not positive definite is damped more, as by one process', async () => {
  const width = 64
  const flat = { width, tokens: 1, gram: new Float32Array(width * width).fill(1), mean: new Float64Array(width) }
  const of = (engine: Engine) =>
    eliminate(engine, weightOf(width), flat, single(width), 40, { damp: 0, center: false, layer: 'made' })
  const wanted = await of(engines[0])
  expect(wanted.damp).toBeGreaterThan(0)
  const found = await Promise.all(
    inProcess(2, { outputs: 32 }).map(group => {
      const engine = solvesOver(engines[0], group)
      return group.decide(() => of(engine))
    }),
  )
  for (const { damp, kept } of found) expect([damp, kept.length]).toEqual([wanted.damp, 40])
})

test('columns that go together, and few, are of the root alone', async () => {
  const pairs = Array.from({ length: 48 }, (_, g) => [g, g + 48])
  const wanted = await eliminated(engines[0], 96, false, OPTIONS, pairs)
  const shared = inProcess(2, { outputs: 32 })
  const found = await Promise.all(
    shared.map(group => {
      const engine = solvesOver(engines[0], group)
      return group.decide(() => eliminated(engine, 96, false, OPTIONS, pairs))
    }),
  )
  for (const one of found) expect(one).toEqual(wanted)
  expect(shared[1].bytes).toBe(0)
  expect([2, 8, 64].map(ranks => paysToEliminate(28672, ranks))).toEqual([false, true, true]) // of 70B
  expect(paysToEliminate(4096, 8)).toBe(false)
  expect(paysToEliminate(28672 + 1, 8)).toBe(false)
  expect(paysToEliminate(28672, 8, Number.POSITIVE_INFINITY)).toBe(false)
})

test.each([0, 1, 2])('rank %i fails in a round: all end', async of => {
  let calls = 0
  const gemm: Engine['linalg']['gemm'] = (a, b, c, options) => {
    if (options?.transA && c.data instanceof Float64Array && c.columns === OUT && ++calls > 5)
      throw new UsageError('no memory')
    return engines[0].linalg.gemm(a, b, c, options)
  }
  const broken: Engine = { ...engines[0], linalg: { ...engines[0].linalg, gemm } }
  const errors = await Promise.all(
    inProcess(3, { outputs: 32 }).map(async group => {
      try {
        const engine = solvesOver(group.rank === of ? broken : engines[0], group)
        return await group.decide(() => eliminated(engine, 96, true))
      } catch (error) {
        expect(await group.fail(error)).toBe(true)
        return error
      }
    }),
  )
  for (const [rank, error] of errors.entries())
    if (rank === of) expect(error).toBeInstanceOf(UsageError)
    else expect((error as GroupError).message).toBe(`rank ${of} of 3: no memory`)
  expect(errors.filter(error => error instanceof GroupError)).toHaveLength(2)
})

test('a rank for which what goes cannot be factored speaks for all', async () => {
  let factored = 0
  const weak: Engine = {
    ...engines[0],
    linalg: {
      ...engines[0].linalg,
      factor: async (n, read) => (++factored > 3 ? undefined : engines[0].linalg.factor(n, read)),
    },
  }
  const errors = await Promise.all(
    inProcess(2, { outputs: 32 }).map(async group => {
      try {
        const engine = solvesOver(group.rank === 1 ? weak : engines[0], group)
        return await group.decide(() => eliminated(engine, 96, true))
      } catch (error) {
        expect(await group.fail(error)).toBe(true)
        return error
      }
    }),
  )
  expect((errors[0] as Error).message).toBe(
    'made: elimination ran out of precision. Use a larger damp, more calibration text, or score column.',
  )
  expect((errors[1] as Error).message).toContain('rank 0 of 2: made: elimination ran out of precision')
})
