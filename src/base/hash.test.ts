import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { someOf } from '../../test/nightly.ts'
import { hashBlob, hashBytes, hashParts, PartsHash } from './hash.ts'

const PART = 2 ** 24
const sha256 = (...parts: readonly Uint8Array[]) =>
  parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest()

test.for(someOf([0, 1, PART - 1, PART, PART + 1, 2 * PART + 5], length => length % PART < 2 && length <= PART + 1))(
  'of %i bytes is that of the hashes of 16 MiB each',
  async length => {
    const bytes = Uint8Array.from({ length }, (_, i) => (i * 2654435761) >>> 24)
    const parts = [0, PART, 2 * PART].filter(at => at < length).map(at => bytes.subarray(at, at + PART))
    const expected = sha256(...parts.map(part => sha256(part))).toString('hex')
    expect(await hashBytes(bytes)).toBe(expected)
    expect(await hashBlob(new Blob([bytes]))).toBe(expected)
    expect(await hashParts(length, async (start, end) => bytes.slice(start, end))).toBe(expected)
    for (const pieces of [1, 3, 7]) {
      const hash = new PartsHash()
      const size = Math.ceil(length / pieces) || 1
      for (let at = 0; at < length; at += size) await hash.add(bytes.subarray(at, at + size))
      expect(await hash.digest()).toBe(expected)
    }
  },
)
