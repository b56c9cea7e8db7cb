import { expect, test } from 'vitest'
import { openEngine } from '../engine.node.ts'
import { values } from '../engine.ts'
import { attentionFeeds, attentionGraph, attentionIsRight } from './attention.ts'

test('the CPU is found right, a value that is off and a device that fails are not', async () => {
  await using engine = openEngine()
  const h = values(new Float32Array(attentionFeeds.q.data.length), attentionFeeds.q.shape)
  await engine.run('attention', attentionGraph, attentionFeeds, { h })
  expect(attentionIsRight(() => h.data)).toBe(true)
  const off = h.data.map((value, i) => (i === 1000 ? value + 0.01 : value))
  expect(attentionIsRight(() => off)).toBe(false)
  const fails = () => {
    throw new Error('lost')
  }
  expect(attentionIsRight(fails)).toBe(false)
})
