import { expect, test } from 'vitest'
import { randomNumbers } from '../base/random.ts'
import { pickToken } from './sampler.ts'

const PROBABILITIES = Float32Array.of(0.1, 0.4, 0.05, 0.3, 0.15)
const DRAWS = 20_000

function frequencies(options: { topK?: number; topP?: number }): number[] {
  const random = randomNumbers(1)
  const counts = new Array<number>(PROBABILITIES.length).fill(0)
  for (let i = 0; i < DRAWS; i++) counts[pickToken(PROBABILITIES, { temperature: 1, ...options }, random)]++
  return counts.map(n => n / DRAWS)
}

test('takes the most likely token without a temperature', () => {
  expect(pickToken(Float32Array.of(-3, 2, 5, 5), {}, () => 0.99)).toBe(2)
})

test.each([
  { options: {}, expected: [0.1, 0.4, 0.05, 0.3, 0.15] },
  { options: { topK: 2 }, expected: [0, 4 / 7, 0, 3 / 7, 0] },
  { options: { topP: 0.69 }, expected: [0, 4 / 7, 0, 3 / 7, 0] },
  { options: { topP: 0.71 }, expected: [0, 40 / 85, 0, 30 / 85, 15 / 85] },
])('draws by probability among those left by $options', ({ options, expected }) => {
  for (const [i, frequency] of frequencies(options).entries()) expect(frequency).toBeCloseTo(expected[i], 1.7)
})

test('gives a token where rounding leaves none', () => {
  expect(pickToken(PROBABILITIES, { temperature: 1 }, () => 1)).toBe(1)
})
