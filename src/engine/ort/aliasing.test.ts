import { expect, test } from 'vitest'
import { values } from '../engine.ts'
import { apart } from './aliasing.ts'

test('results over inputs appear when the run is over, whatever lies beside them', () => {
  const place = apart()
  const all = Float32Array.from({ length: 9 }, (_, i) => i)
  const of = (from: number, to: number) => values(all.subarray(from, to), [to - from])
  for (const [input, output] of [
    [of(0, 3), of(0, 3)],
    [of(2, 7), of(4, 8)],
    [of(1, 2), of(1, 2)],
  ]) {
    const before = all.slice()
    const free = values(new Float32Array(2), [2])
    place({ x: input }, { y: output, free }, (feeds, outputs) => {
      expect(feeds.x).toBe(input)
      expect(outputs.free).toBe(free)
      expect(outputs.y.shape).toEqual(output.shape)
      for (const i of output.data.keys()) outputs.y.data[i] = 100 + i
      expect(all).toEqual(before)
    })
    expect(output.data).toEqual(output.data.map((_, i) => 100 + i))
    all.set(before)
  }
})

test('several such results, of several types', () => {
  const arrays = { a: Float32Array.of(1, 2, 3), b: BigInt64Array.of(4n), c: new Float32Array(1) }
  const feeds = Object.fromEntries(Object.entries(arrays).map(([name, data]) => [name, values(data, [data.length])]))
  apart()(feeds, feeds, (_, outputs) => {
    outputs.a.data.set([7, 8, 9] as never)
    outputs.b.data.set([10n] as never)
    outputs.c.data.set([11] as never)
    expect(arrays).toEqual({ a: Float32Array.of(1, 2, 3), b: BigInt64Array.of(4n), c: new Float32Array(1) })
  })
  expect(arrays).toEqual({ a: Float32Array.of(7, 8, 9), b: BigInt64Array.of(10n), c: Float32Array.of(11) })
})
