import { expect, test } from 'vitest'
import { routes } from './routes.ts'

const router = { name: 'router', out: 3, in: 1, bias: false }
const gates = Float32Array.of(0.5, 0.25, 0.25, 0.125, 0.125, 0.75) // two tokens

test('each token goes to the experts with its largest gates, ties to the lower number', () => {
  const found = routes(gates, { router, active: 2, normalised: false })
  expect(found.map(({ rows }) => [...rows])).toEqual([[0, 1], [0], [1]])
  expect(found.map(route => [...route.gates])).toEqual([[0.5, 0.125], [0.25], [0.75]])
})

test('where they are normalised, the gates of a token add up to one', () => {
  const found = routes(gates, { router, active: 2, normalised: true })
  expect(found[0].gates[0]).toBeCloseTo(2 / 3, 6)
  expect(found[0].gates[1] + found[2].gates[0]).toBeCloseTo(1, 6)
})

test('one that is active in none gets no rows', () => {
  expect(routes(gates, { router, active: 1, normalised: true }).map(({ rows }) => rows.length)).toEqual([1, 0, 1])
})
