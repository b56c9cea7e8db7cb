import { afterAll, expect, test } from 'vitest'
import { random } from '../../../test/random.ts'
import { openEngine } from '../../engine/engine.node.ts'
import { GapAccumulator } from './gap.ts'
import { GramAccumulator } from './gram.ts'

const engine = openEngine()
afterAll(() => engine.close())

test('what the pruned stream lacks, as computed token by token', async () => {
  const [tokens, width, d, alpha] = [30, 7, 5, 0.5]
  const [h, x, y] = [random(tokens * width, 1), random(tokens * d, 2), random(tokens * d, 3)]
  const [weight, bias] = [random(d * width, 4), random(d, 5)]
  const gram = new GramAccumulator(engine, width)
  const gap = new GapAccumulator(engine, width, bias)
  for (const [from, to] of [
    [0, 12],
    [12, 30],
  ]) {
    const rows = (data: Float32Array<ArrayBuffer>) => data.subarray(from * d, to * d)
    const n = to - from
    const transposed = Float32Array.from(
      { length: width * n },
      (_, i) => h[(from + (i % n)) * width + Math.floor(i / n)],
    )
    const seen = { h: transposed, tokens: n, x: rows(x), y: rows(y) }
    await gram.add(seen)
    await gap.add(seen)
  }
  const { cross, mean, energy } = (await gap.finish(await gram.finish(), weight, alpha))!

  const expected = { cross: new Float64Array(width * d), mean: new Float64Array(d), energy: 0 }
  for (let t = 0; t < tokens; t++)
    for (let o = 0; o < d; o++) {
      let lacks = y[t * d + o] - x[t * d + o] - bias[o]
      for (let j = 0; j < width; j++) lacks -= h[t * width + j] * weight[o * width + j]
      for (let j = 0; j < width; j++) expected.cross[j * d + o] += alpha * h[t * width + j] * lacks
      expected.mean[o] += (alpha * lacks) / tokens
      expected.energy += (alpha * lacks) ** 2
    }
  for (const [i, v] of expected.cross.entries()) expect(cross[i]).toBeCloseTo(v, 4)
  for (const [i, v] of expected.mean.entries()) expect(mean[i]).toBeCloseTo(v, 5)
  expect(energy / expected.energy).toBeCloseTo(1, 5)
})
