import { totalmem } from 'node:os'
import { expect, test } from 'vitest'
import { memoryLimits, roomForData } from './memory-limits.node.ts'

test('data have the room of the machine, of its container, or of the address space', () => {
  const address = { left: 2e8, resident: 1e8 }
  expect(roomForData({})).toBe(totalmem())
  expect(roomForData({ memory: 2 ** 60 })).toBe(totalmem())
  expect(roomForData({ memory: 1e8, address })).toBe(1e8)
  expect(roomForData({ memory: 1e9, address })).toBe(2e8)
})

test.skipIf(process.platform !== 'linux')('a machine has some memory', () => {
  expect(memoryLimits().memory).toBeGreaterThan(2 ** 28)
  expect(memoryLimits().memory).toBeLessThan(2 ** 50)
})
