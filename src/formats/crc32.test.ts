import { crc32 as oracle } from 'node:zlib'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { crc32, plainCrc32 } from './crc32.ts'

test('the check value of the standard, and that of nothing', () => {
  expect(plainCrc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926)
  expect(plainCrc32(new Uint8Array(0))).toBe(0)
})

test('the same as zlib for any bytes', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), bytes => plainCrc32(bytes) === oracle(bytes)))
})

test('in Node it is the faster one', () => {
  expect(crc32).toBe(oracle)
})
