// Rows in a scratch file: what they take in memory.
import { expect, test } from 'vitest'
import { memoryScratch } from '../../test/scratch.ts'
import { ActivationPool } from './activations.ts'

const WIDTH = 3

test.each([
  ['one batch, which is in the file: nothing', 1, false],
  ['several: one', 2, true],
])('%s', async (_, count, stays) => {
  const batches = Array.from({ length: count }, (_, i) => ({ windows: 1, start: 4 * i, tokens: 4 }))
  const rows = await new ActivationPool(0, async () => memoryScratch(4 * 8 * WIDTH)).open(batches, WIDTH)
  const written = rows.room(batches[0]).fill(7)
  await rows.store(batches[0])
  const read = await rows.load(batches[0])
  expect([...read]).toEqual(new Array(4 * WIDTH).fill(7))
  expect(read.buffer === written.buffer).toBe(stays)
  await rows.close()
})
