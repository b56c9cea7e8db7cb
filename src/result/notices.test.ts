import { expect, test } from 'vitest'
import { dampingNotices, heldOutCost, lossNotices, overfitNotices } from './notices.ts'

test('damping that was raised is named with its half-block, and what was asked for is not', () => {
  const half = (damp: number) => ({ kept: [0], errorBefore: 0.2, errorAfter: 0.1, damp })
  const layers = [{ attention: half(0.01), ffn: half(0.01) }, {}, { attention: half(0.1), ffn: half(0.01) }]
  expect(dampingNotices(layers, 0.01)).toEqual([
    'Layer 2, attention: the Gram matrix could not be factored with damping 0.01; 0.1 was used.',
  ])
})

/** Of one text, what pruning cost on its windows. */
const text = (name: string, on: number, held: number) => {
  const side = (cost: number) => ({ windows: 2, dense: 3, pruned: 3 + cost })
  const share = { name, tokens: 999, available: 9, used: 2 }
  return { ...share, loss: { calibratedOn: side(on), heldOut: side(held) } }
}

test('a loss that breaks what the model writes is said with what helps, and not best to those who use it', () => {
  const options = { method: 'stock', sparsity: 0.25 }
  expect(heldOutCost([text('a', 0, 0.1), text('b', 0, 0.4)])).toBeCloseTo(0.25)
  expect(heldOutCost([{ ...text('a', 0, 0), loss: undefined }])).toBeUndefined()
  expect(lossNotices([text('a', 0, 0.1), text('b', 0, 0.4)], options)).toEqual([
    'Pruning cost 0.25 nats a token on held-out text: what this model writes is likely to break. More calibration text, another kind of text, method best, healing (fasp heal), or a smaller sparsity, for example 0.13, will help.',
  ])
  expect(lossNotices([text('a', 0, 0.4)], { ...options, method: 'best:alpha=0.25' })[0]).not.toContain('method best')
  expect(lossNotices([text('a', 0.9, 0.09)], options)).toEqual([])
})

test('texts are named that cost half as much again, and not just a little more, where they are held out', () => {
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
    'a.txt: pruning cost 0.10 nats a token on windows that it was calibrated on, and 0.30 on others. More windows (--windows), or another kind of text, will help.',
  ])
})
