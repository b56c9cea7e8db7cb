import fc from 'fast-check'
import { expect, test } from 'vitest'
import { TOKENS_PER_RUN } from '../forward/stream.ts'
import { batchWindows, branch, rowOf } from './branches.ts'

const ids = fc.array(fc.nat(3), { maxLength: 6 })
const sequences = fc
  .tuple(fc.array(fc.nat(3), { minLength: 1, maxLength: 6 }), fc.array(ids, { minLength: 1, maxLength: 4 }))
  .map(([common, ends]) => ends.map(end => Int32Array.from([...common, ...end])))

test('every token of every sequence has its row, and the common beginning has one', () => {
  fc.assert(
    fc.property(sequences, sequences => {
      const window = branch(sequences)
      const rows = sequences.map((sequence, s) => [...sequence.keys()].map(i => rowOf(window, s, i)))
      for (const [s, sequence] of sequences.entries())
        expect(rows[s].map(row => window.ids[row])).toEqual([...sequence])
      expect(new Set(rows.flat()).size).toBe(window.ids.length)
      const rest = sequences.reduce((n, { length }) => n + length - window.trunk, 0)
      expect(window.ids.length).toBe(window.trunk + rest)
      const longer = sequences.map(sequence => sequence[window.trunk])
      expect(sequences.length > 1 && new Set(longer).size === 1 && longer[0] !== undefined).toBe(false)
    }),
  )
})

test('windows are batched in their order, the tokens of a run bounded', () => {
  const lengths = [3 * TOKENS_PER_RUN, 1000, 900, 800, 700, 3, 2, 1]
  const windows = lengths.map(length => branch([new Int32Array(length)]))
  const batches = batchWindows(windows)
  expect(batches.flatMap(batch => batch.members)).toEqual(windows)
  expect(batches.map(batch => batch.windows)).toEqual([1, 2, 2, 3])
  expect(batches.map(batch => batch.tokens)).toEqual([3 * TOKENS_PER_RUN, 2000, 1600, 9])
  expect(batches.map(batch => batch.start)).toEqual([0, 6144, 8144, 9744])
})
