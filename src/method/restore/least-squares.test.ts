import { afterAll, expect, test } from 'vitest'
import { statisticsOf } from '../../../test/made-statistics.ts'
import { random } from '../../../test/random.ts'
import { openEngine } from '../../engine/engine.node.ts'
import { restoreColumns } from './least-squares.ts'

const engine = openEngine({ threads: 1 })
afterAll(() => engine.close())

test('outputs are solved for in parts, and each has what it would have alone', async () => {
  const [width, tokens, out] = [6, 200, 2100]
  const h = random(tokens * width, 1)
  const statistics = statisticsOf(h, tokens)
  const [weight, bias] = [random(out * width, 2), random(out, 3)]
  const kept = Int32Array.of(0, 1, 3, 5)
  const options = { center: true, restore: true, damp: 0.01, layer: 'made' }
  const restore = (from: number, to: number) => {
    const part = { weight: weight.slice(from * width, to * width), bias: bias.slice(from, to) }
    return restoreColumns(engine, part, statistics, kept, options)
  }
  const whole = await restore(0, out)
  const errors: number[] = []
  for (const [from, to] of [
    [0, 700],
    [700, 1500],
    [1500, 2100],
  ]) {
    const part = await restore(from, to)
    const rows = whole.weight.subarray(from * kept.length, to * kept.length)
    expect(worst(rows, part.weight)).toBeLessThan(1e-6)
    expect(worst(whole.bias!.subarray(from, to), part.bias!)).toBeLessThan(1e-6)
    errors.push(part.errorAfter)
  }
  expect(whole.errorAfter).toBeLessThan(whole.errorBefore)
  expect(whole.errorAfter).toBeGreaterThan(Math.min(...errors))
  expect(whole.errorAfter).toBeLessThan(Math.max(...errors))
})

const worst = (a: Float32Array, b: Float32Array) => a.reduce((most, v, i) => Math.max(most, Math.abs(v - b[i])), 0)
