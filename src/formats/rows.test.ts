import { expect, test } from 'vitest'
import { gatherRows } from './rows.ts'

/** Reads rows of `rowBytes` bytes, each full of its number, and notes which at a time. */
async function gather(ids: number[], rowBytes: number) {
  const reads: [number, number][] = []
  const read = async (from: number, to: number) => {
    reads.push([from, to])
    return new Uint8Array((to - from) * rowBytes).map((_, i) => from + Math.floor(i / rowBytes))
  }
  const rows = await gatherRows(Int32Array.from(ids), rowBytes, read)
  expect(rows.length).toBe(ids.length * rowBytes)
  expect(ids.map((id, i) => rows.subarray(i * rowBytes, (i + 1) * rowBytes).every(byte => byte === id))).not.toContain(
    false,
  )
  return reads
}

test('near rows come with what is between them, far ones alone', async () => {
  expect(await gather([3, 4, 19, 200], 2048)).toEqual([
    [3, 20],
    [200, 201],
  ])
  expect(await gather([7, 9, 250, 251], 40000)).toEqual([
    [7, 8],
    [9, 10],
    [250, 252],
  ])
})

test('no more than some megabytes are read at once, but for one longer row', async () => {
  const neighbours = Array.from({ length: 10 }, (_, i) => i)
  expect(await gather(neighbours, 2 ** 20)).toEqual([
    [0, 4],
    [4, 8],
    [8, 10],
  ])
  expect(await gather([1, 2], 5 * 2 ** 20)).toHaveLength(2)
})

test('no rows are no read', async () => {
  expect(await gather([], 8)).toEqual([])
})
