// Statistics add up: what the accumulators of ranks have seen apart, put together, is what one has seen of all.
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { inProcess } from '../../../test/in-process-ranks.ts'
import { random } from '../../../test/random.ts'
import { openEngine } from '../../engine/engine.node.ts'
import { values } from '../../engine/engine.ts'
import type { Observed } from '../../forward/observation.ts'
import type { Norm } from '../../model/half-block.ts'
import { ALONE, type Group } from '../../ranks/group.ts'
import { AlignmentAccumulator } from './alignment.ts'
import { GapAccumulator } from './gap.ts'
import { GramAccumulator } from './gram.ts'
import { MomentAccumulator } from './moments.ts'

const engine = openEngine()
afterAll(() => engine.close())
const [width, d] = [6, 8]
const norm: Norm = { name: 'norm', type: 'rms', size: d, epsilon: 1e-5, affine: true }
const weights = { 'before.weight': values(random(d, 9), [d]) }
const gramOf = () => new GramAccumulator(engine, width)

interface Summing {
  add(observed: Required<Pick<Observed, 'h' | 'tokens' | 'x' | 'y'>>): Promise<void>
}

/** What comes of one accumulator of all batches, and of two ranks': of the first `cut` batches, and of the others. And what the other gets. */
async function both<A extends Summing, T>(
  make: () => A,
  sizes: readonly number[],
  cut: number,
  finish: (accumulator: A, group: Group) => Promise<T>,
): Promise<[one: T, merged: T, other: T]> {
  const [one, merged, other] = [make(), make(), make()]
  for (const [i, tokens] of sizes.entries()) {
    const observed = {
      tokens,
      h: random(width * tokens, i),
      x: random(d * tokens, i + 50),
      y: random(d * tokens, i + 100),
    }
    await one.add(observed)
    await (i < cut ? merged : other).add(observed)
  }
  const [root, second] = inProcess(2)
  const [found, others] = await Promise.all([finish(merged, root), finish(other, second)])
  return [await finish(one, ALONE), found, others]
}

function expectClose(found: ArrayLike<number>, expected: ArrayLike<number>) {
  const most = Array.from(expected).reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  expect(found.length).toBe(expected.length)
  for (let i = 0; i < found.length; i++) expect(Math.abs(found[i] - expected[i])).toBeLessThanOrEqual(1e-5 * most)
}

/** Batches, and where they are split: one side may be empty. */
const batches = fc
  .array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 5 })
  .chain(sizes => fc.tuple(fc.constant(sizes), fc.integer({ min: 0, max: sizes.length })))
const holds = (check: (sizes: number[], cut: number) => Promise<void>) =>
  fc.assert(
    fc.asyncProperty(batches, ([sizes, cut]) => check(sizes, cut)),
    { numRuns: 20 },
  )

describe('merging is as one pass', () => {
  test('of Gram matrix and mean', () =>
    holds(async (sizes, cut) => {
      const [one, merged] = await both(gramOf, sizes, cut, (gram, group) => gram.finish(group))
      expect(merged.tokens).toBe(one.tokens)
      expectClose(merged.gram, one.gram)
      expectClose(merged.mean, one.mean)
    }))
  test('of the gap to the dense stream', () =>
    holds(async (sizes, cut) => {
      const [weight, bias] = [random(d * width, 7), random(d, 8)]
      const make = () => {
        const [gram, gap] = [gramOf(), new GapAccumulator(engine, width, bias)]
        const add = async (seen: Required<Omit<Observed, 'scale'>>) => {
          for (const one of [gram, gap]) await one.add(seen)
        }
        return { gram, gap, add }
      }
      const all = await both(make, sizes, cut, async ({ gram, gap }, group) =>
        gap.finish(await gram.finish(group), weight, 0.5, group),
      )
      const [one, merged] = all.map(gap => gap!)
      expectClose(merged.cross, one.cross)
      expectClose(merged.mean, one.mean)
      expectClose([merged.energy], [one.energy])
    }))
  test('of moments', () =>
    holds(async (sizes, cut) => {
      const make = () => new MomentAccumulator(engine, width)
      const [one, merged, other] = await both(make, sizes, cut, (moments, group) => moments.finish(group))
      expect(other).toEqual(merged)
      expectClose(merged.mean, one.mean)
      expectClose(merged.variance, one.variance)
    }))
  test('of the alignment of two streams', () =>
    holds(async (sizes, cut) => {
      const make = () => new AlignmentAccumulator(engine, d, norm, weights)
      const [one, merged] = await both(make, sizes, cut, (sums, group) => sums.finish(group))
      expectClose(merged.gram, one.gram)
      expectClose(merged.cross, one.cross)
    }))
})
