import { describe, expect, test } from 'vitest'
import { values } from '../engine/values.ts'
import type { HalfBlock } from '../model/half-block.ts'
import type { Scratch } from '../output/activations.ts'
import { DenseRows } from './shared-steps.ts'

const half = (name: string) => ({ output: { name } }) as HalfBlock
const batch = (start: number) => ({ windows: 1, start, tokens: 1 })

/** A file in memory. */
function file(): Scratch & { bytes: Uint8Array; closed: boolean } {
  return {
    bytes: new Uint8Array(1024),
    closed: false,
    async read(target, offset) {
      target.set(this.bytes.subarray(offset, offset + target.length))
    },
    async write(bytes, offset) {
      this.bytes.set(bytes, offset)
    },
    async close() {
      this.closed = true
    },
  }
}

/** Adds one to the rows, and counts how often. */
function counting(room: number, scratch = file()) {
  const rows = new DenseRows()
  const recall = rows.recall(room, async () => scratch)
  const state = { forwards: 0, rows, scratch }
  const through = async (name: string, start: number, value: number) => {
    const x = Float32Array.of(value, value)
    await recall(half(name), batch(start), values(x, [1, 2]), async () => {
      state.forwards++
      for (const i of x.keys()) x[i]++
    })
    return [...x]
  }
  return { ...state, through, forwards: () => state.forwards }
}

describe('rows of the dense stream', () => {
  test('are computed once for each half-block and batch', async () => {
    const { through, forwards } = counting(1e6)
    for (let run = 0; run < 3; run++) {
      expect(await through('a', 0, 1)).toEqual([2, 2])
      expect(await through('a', 1, 5)).toEqual([6, 6])
      expect(await through('b', 0, 2)).toEqual([3, 3])
    }
    expect(forwards()).toBe(3)
  })
  test('are computed again where there is no room', async () => {
    const { through, forwards } = counting(8)
    for (let run = 0; run < 2; run++) for (const start of [0, 1]) expect(await through('a', start, 1)).toEqual([2, 2])
    expect(forwards()).toBe(3)
  })
  test('are computed again after the disk was full, and nothing fails', async () => {
    const full = { ...file(), write: () => Promise.reject(new Error('full')) }
    const { through, forwards } = counting(1e6, full)
    for (let run = 0; run < 2; run++) expect(await through('a', 0, 1)).toEqual([2, 2])
    expect(forwards()).toBe(2)
  })
  test('are gone afterwards, with their file', async () => {
    const { through, rows, scratch } = counting(1e6)
    await through('a', 0, 1)
    await rows[Symbol.asyncDispose]()
    expect(scratch.closed).toBe(true)
  })
})
