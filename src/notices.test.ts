import { expect, test } from 'vitest'
import { dampingNotices, overfitNotices } from './notices.ts'

test('damping that was raised is named with its half-block, and what was asked for is not', () => {
  const half = (damp: number) => ({ kept: [0], errorBefore: 0.2, errorAfter: 0.1, damp })
  const layers = [{ attention: half(0.01), ffn: half(0.01) }, {}, { attention: half(0.1), ffn: half(0.01) }]
  expect(dampingNotices(layers, 0.01)).toEqual([
    'Layer 2, attention: the Gram matrix could not be factored with damping 0.01; 0.1 was used.',
  ])
})

test('texts are named that cost half as much again, and not just a little more, where they are held out', () => {
  const text = (name: string, on: number, held: number) => {
    const side = (cost: number) => ({ windows: 2, dense: 3, pruned: 3 + cost })
    const share = { name, tokens: 999, available: 9, used: 2 }
    return { ...share, loss: { calibratedOn: side(on), heldOut: side(held) } }
  }
  const { loss: _, ...unmeasured } = text('no windows held out', 0, 0)
  expect(
    overfitNotices([
      text('a.txt', 0.1, 0.3),
      text('less than a factor', 1, 1.4),
      text('less than some nats', 0.01, 0.04),
      text('cheaper than before', 0.2, -0.1),
      unmeasured,
    ]),
  ).toEqual([
    'a.txt: pruning cost 0.10 nats a token on windows that it was calibrated on, and 0.30 on others. More calibration windows (--windows) will help.',
  ])
})
