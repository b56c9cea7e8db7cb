import { expect, test } from 'vitest'
import type { Floats } from '../../formats/tensors.ts'
import { openEngine } from '../engine.node.ts'
import { values } from '../engine.ts'
import { attentionFeeds, attentionGraph, attentionIsRight } from './attention.ts'

const { q, k, v, cos, sin } = attentionFeeds
const [, length, width] = k.shape
const [, , all] = q.shape
const SCALE = 0.5

/** Attention from its definition [length, heads · width]. */
function defined(): Floats {
  const [queries, keys] = [turned(q.data, all / width), turned(k.data, 1)]
  const h = new Float32Array(queries.length)
  for (let at = 0; at < h.length; at += width) {
    const seen = Math.floor(at / all) + 1
    const weights = Array.from({ length: seen }, (_, t) => {
      const row = keys.subarray(t * width, (t + 1) * width)
      return Math.exp(SCALE * row.reduce((sum, value, i) => sum + value * queries[at + i], 0))
    })
    const sum = weights.reduce((sum, weight) => sum + weight, 0)
    for (const [t, weight] of weights.entries())
      for (let i = 0; i < width; i++) h[at + i] += (weight / sum) * v.data[t * width + i]
  }
  return h
}

/** Each pair (i, i + width/2) by the angle of its position. @param x [length, heads · width] */
const turned = (x: Floats, heads: number): Floats =>
  x.map((value, i) => {
    const table = Math.floor(i / (heads * width)) * (width / 2) + (i % (width / 2))
    const isFirst = i % width < width / 2
    const other = x[isFirst ? i + width / 2 : i - width / 2]
    return value * cos.data[table] + (isFirst ? -1 : 1) * other * sin.data[table]
  })

test('the CPU has the values of the definition; a value that is off and a device that fails are found', async () => {
  await using engine = openEngine()
  const h = values(new Float32Array(length * all), q.shape)
  await engine.run('attention', attentionGraph, attentionFeeds, { h })
  for (const [i, value] of defined().entries()) expect(h.data[i]).toBeCloseTo(value, 4)
  expect(attentionIsRight(() => h.data)).toBe(true)
  const off = h.data.map((value, i) => (i === 1000 ? value + 0.01 : value))
  expect(attentionIsRight(on => (on === 'cpu' ? h.data : off))).toBe(false)
  const fails = (on: string) => {
    if (on === 'device') throw new Error('lost')
    return h.data
  }
  expect(attentionIsRight(fails)).toBe(false)
})
