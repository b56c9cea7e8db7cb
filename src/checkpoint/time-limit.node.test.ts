import { expect, test } from 'vitest'
import { within } from './time-limit.node.ts'

const tooLate = () => new Error('too late')

test('gives what the work gives, and throws what it throws', () => {
  expect(within(10, () => 5, tooLate)).toBe(5)
  const error = new TypeError('own')
  const fails = () => {
    throw error
  }
  expect(() => within(10, fails, tooLate)).toThrow(error)
  expect(within(10, () => within(10, () => 6, tooLate) + 1, tooLate)).toBe(7)
})

test('ends loops and regular expressions', () => {
  const loop = () => {
    for (;;);
  }
  expect(() => within(0.1, loop, tooLate)).toThrow('too late')
  expect(() => within(0.1, () => /^(a+)+$/.test(`${'a'.repeat(64)}b`), tooLate)).toThrow('too late')
  expect(within(1e9, () => 7, tooLate)).toBe(7)
})
