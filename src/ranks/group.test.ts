// Properties of the collectives, on ranks in one process.
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { inProcess } from '../../test/in-process-ranks.ts'
import { GroupError, UsageError } from '../base/errors.ts'
import { ALONE, type Group, type Sum } from './group.ts'

const sizes = fc.integer({ min: 1, max: 4 })
const onAll = <T>(groups: readonly Group[], work: (group: Group) => Promise<T>) => Promise.all(groups.map(work))

/** Of each rank an array. */
const parts = (Type: typeof Float32Array | typeof Float64Array) =>
  fc
    .tuple(sizes, fc.integer({ min: 0, max: 3000 }))
    .chain(([ranks, length]) =>
      fc.array(fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: length, maxLength: length }), {
        minLength: ranks,
        maxLength: ranks,
      }),
    )
    .map(all => all.map(one => Type.from(one) as Sum))

describe.each([Float32Array, Float64Array])('sums of %o', Type => {
  test('are those of float64 in rank order, rounded once, on all ranks, in any chunks', () =>
    fc.assert(
      fc.asyncProperty(parts(Type), fc.constantFrom(16, 4096, undefined), async (all, chunk) => {
        const others = all.slice(1)
        const wanted = new Type(Array.from(all[0], (first, i) => others.reduce((sum, part) => sum + part[i], first)))
        const own = all.map(part => part.slice())
        await onAll(inProcess(all.length, { chunk }), group => group.sum(own[group.rank]))
        for (const sum of own) expect(Array.from(sum)).toEqual(Array.from(wanted))
      }),
      { numRuns: 25 },
    ))
})

describe.each([Float32Array, Float64Array])('sums at the root of %o', Type => {
  test('are those that all would get, of arrays in any parts', () =>
    fc.assert(
      fc.asyncProperty(
        parts(Type),
        fc.array(fc.nat(3000), { maxLength: 9 }),
        fc.constantFrom(16, 4096, undefined),
        async (all, cuts, chunk) => {
          const [whole, apart] = [all.map(part => part.slice()), all.map(part => part.slice())]
          await onAll(inProcess(all.length), group => group.sum(whole[group.rank]))
          const { length } = all[0]
          const ends = [...cuts.map(cut => Math.min(cut, length)).sort((a, b) => a - b), length]
          const piecesOf = (array: Sum) => ends.map((end, i) => array.subarray(i > 0 ? ends[i - 1] : 0, end))
          await onAll(inProcess(all.length, { chunk }), group => group.sumAtRoot(piecesOf(apart[group.rank])))
          expect(apart[0]).toEqual(whole[0])
          expect(apart.slice(1)).toEqual(all.slice(1)) // nothing came back
        },
      ),
      { numRuns: 25 },
    ))
})

test('several arrays go in one call', async () => {
  const sums = await onAll(inProcess(3), async group => {
    const [a, b] = [Float32Array.of(1, 2), Float64Array.of(group.rank)]
    await group.sum(a, b)
    return [...a, ...b]
  })
  expect(sums).toEqual(Array(3).fill([3, 6, 3]))
})

test('shares are consecutive, disjoint, all of it, and differ by one at most', () =>
  fc.assert(
    fc.property(sizes, fc.array(fc.integer()), (size, all) => {
      const shares = inProcess(size).map(group => group.share(all))
      expect(shares.flat()).toEqual(all)
      const lengths = shares.map(share => share.length)
      expect(Math.max(...lengths) - Math.min(...lengths)).toBeLessThanOrEqual(1)
    }),
  ))

test('values are gathered in rank order', async () => {
  const all = await onAll(inProcess(4), group => group.gather({ rank: group.rank, text: 'é'.repeat(group.rank) }))
  const wanted = [0, 1, 2, 3].map(rank => ({ rank, text: 'é'.repeat(rank) }))
  for (const one of all) expect(one).toEqual(wanted)
})

test('the root decides, alone', async () => {
  const made: number[] = []
  const all = await onAll(inProcess(3, { chunk: 16 }), group =>
    group.decide(() => {
      made.push(group.rank)
      const same = Float32Array.of(1, -0, Number.NaN)
      return { same, again: same, ids: Int32Array.of(7), nothing: undefined, list: [undefined, Number.NaN, -0] }
    }),
  )
  expect(made).toEqual([0])
  for (const one of all) {
    expect(one.same).toEqual(Float32Array.of(1, -0, Number.NaN))
    expect(one.again).toBe(one.same)
    expect(one.ids).toEqual(Int32Array.of(7))
    expect(one.list).toEqual([undefined, Number.NaN, -0])
    expect('nothing' in one).toBe(true)
  }
})

test('bytes go from one rank to another, in any chunks', () =>
  fc.assert(
    fc.asyncProperty(sizes, fc.uint8Array({ maxLength: 100 }), fc.nat(3), fc.nat(3), async (size, sent, a, b) => {
      const [from, to] = [a % size, b % size]
      const all = await onAll(inProcess(size, { chunk: 16 }), async group => {
        const own = group.rank === from ? sent.slice() : group.rank === to ? new Uint8Array(sent.length) : undefined
        await group.move(from, to, own)
        return own
      })
      expect(all[to]).toEqual(Uint8Array.from(sent))
    }),
    { numRuns: 25 },
  ))

test('what one throws, the others throw where they next meet', async () => {
  const groups = inProcess(3)
  const errors = await onAll(groups, async group => {
    try {
      if (group.rank === 1) throw new UsageError('my disk is full')
      await group.sum(new Float32Array(8))
    } catch (error) {
      expect(await group.fail(error)).toBe(true)
      return error
    }
  })
  expect(errors[1]).toBeInstanceOf(UsageError)
  for (const other of [errors[0], errors[2]]) {
    expect(other).toBeInstanceOf(GroupError)
    expect((other as GroupError).message).toBe('rank 1 of 3: my disk is full')
  }
})

test('a root that fails to decide tells the others', async () => {
  const errors = await onAll(inProcess(2), async group => {
    try {
      await group.decide(() => {
        throw new UsageError('no')
      })
    } catch (error) {
      await group.fail(error)
      return (error as Error).message
    }
  })
  expect(errors).toEqual(['no', 'rank 0 of 2: no'])
})

test('one that nobody listens to in time can end all', async () => {
  const [root, other] = inProcess(2, { patience: 10 })
  expect(await other.fail(new Error('x'))).toBe(false)
  other.abort()
  await expect(root.barrier()).rejects.toThrow('ended all')
})

test('calls that differ are an error, and no deadlock', async () => {
  const [root, other] = inProcess(2)
  const both = await Promise.allSettled([root.sum(new Float32Array(3)), other.sum(new Float32Array(4))])
  for (const { status, reason } of both as PromiseRejectedResult[]) {
    expect(status).toBe('rejected')
    expect(reason.message).toMatch(/rank 1 of 2: out of step, at sum 4x4 \(0\) where rank 0 is at sum 4x3 \(0\)/)
  }
})

test('alone nothing is copied, and nothing changes', async () => {
  const [all, sum] = [[1, 2, 3], Float32Array.of(1.5)]
  expect(ALONE.share(all)).toBe(all)
  await ALONE.sum(sum)
  expect(sum).toEqual(Float32Array.of(1.5))
  expect(await ALONE.gather('x')).toEqual(['x'])
  expect(await ALONE.decide(() => all)).toBe(all)
})
