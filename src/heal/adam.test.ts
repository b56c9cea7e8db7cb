// Steps of Adam against its definition: sums over all gradients so far, in closed form.
import { expect, test } from 'vitest'
import { random } from '../../test/random.ts'
import { type Adam, adamAt, adamStep, clipping, rateOf } from './adam.ts'

const n = 20
const state = (w: Float32Array<ArrayBuffer>): Adam => ({
  ...{ w, g: new Float32Array(n), m: new Float32Array(n), v: new Float32Array(n) },
})

test('means of gradients and of their squares count older ones less, and are corrected for the zeros that they begin with', () => {
  const [steps, rate] = [7, 0.01]
  const gradients = Array.from({ length: steps }, (_, t) => random(n, t + 1))
  const found = state(random(n, 9).slice())
  const expected = Float64Array.from(found.w)
  const mean = (of: number[], beta: number) =>
    of.reduce((sum, x, i) => sum + (1 - beta) * beta ** (of.length - 1 - i) * x, 0) / (1 - beta ** of.length)
  for (let t = 1; t <= steps; t++) {
    found.g.set(gradients[t - 1])
    adamStep(found, adamAt(t, rate, 0.5))
    for (const i of expected.keys()) {
      const past = gradients.slice(0, t).map(g => 0.5 * g[i])
      expected[i] -=
        (rate * mean(past, 0.9)) /
        (Math.sqrt(
          mean(
            past.map(g => g * g),
            0.999,
          ),
        ) +
          1e-8)
    }
  }
  for (const [i, w] of found.w.entries()) expect(Math.abs(w - expected[i])).toBeLessThan(1e-6)
})

test('the first step is as long as the rate, whatever the gradient', () => {
  const found = state(new Float32Array(n).fill(1))
  found.g.set(random(n, 3).map(g => 1000 * g + 1))
  adamStep(found, adamAt(1, 0.25))
  for (const [i, w] of found.w.entries()) expect(w).toBeCloseTo(1 - 0.25 * Math.sign(found.g[i]), 5)
})

test('what is 0 stays 0', () => {
  const found = state(random(n, 5).map((w, i) => (i % 3 === 0 ? 0 : w)))
  const before = found.w.slice()
  found.g.fill(1)
  for (let t = 1; t <= 3; t++) adamStep(found, adamAt(t, 0.1))
  for (const [i, w] of found.w.entries()) {
    if (i % 3 === 0) expect(w).toBe(0)
    else expect(w).toBeCloseTo(before[i] - 0.3, 5)
  }
})

test.each([1, 2, 20, 333])('of %i steps the rate rises in a twentieth and falls to a tenth', steps => {
  const rates = Array.from({ length: steps }, (_, i) => rateOf(i + 1, steps, 0.5))
  const warm = Math.ceil(steps / 20)
  expect(rates[warm - 1]).toBe(0.5)
  expect(rates[0]).toBeCloseTo(0.5 / warm, 12)
  if (steps > warm) expect(rates.at(-1)).toBeCloseTo(0.05, 12)
  for (let i = 1; i < steps; i++) expect(rates[i] > rates[i - 1]).toBe(i < warm)
})

test('gradients longer than 1 are made as long as 1', () => {
  expect(clipping(0)).toBe(1)
  expect(clipping(0.9)).toBe(1)
  expect(clipping(16)).toBeCloseTo(0.25, 6)
})
