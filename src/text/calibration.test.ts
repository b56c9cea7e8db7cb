import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { told } from '../../test/hub.ts'
import { openHuggingFace } from '../checkpoint/huggingface.node.ts'
import type { Context } from '../forward/context.ts'
import { describeModel } from '../model/model.ts'
import { calibration } from './calibration.ts'

const model = describeModel(await openHuggingFace(fileURLToPath(new URL('../../assets/tiny-llama', import.meta.url))))
const text = async () => 'It was a dark night, and the little girl said that she was not afraid.\n'.repeat(20)
const notices = async (samples: number, heldOut: number, names = ['a.txt']) => {
  const texts = names.map(name => ({ name, text }))
  const options = { windows: samples, heldOut, seqLen: 16, seed: 0 }
  const { result, events } = await told(calibration({} as Context, model, { texts }, options))
  return { shares: result.texts, messages: events.map(event => (event.type === 'notice' ? event.message : event)) }
}

test('a text that is too short for the windows wanted says so', async () => {
  const { shares, messages } = await notices(4, 2)
  expect([shares[0].used, messages]).toEqual([4, []])
  const { available } = shares[0]
  for (const wanted of [available + 1, available - 1]) {
    const short = await notices(wanted, 2)
    expect(short.messages).toEqual([
      `a.txt: the text has ${available} windows of 16 tokens, ${wanted} to calibrate on are wanted. Give more text, or a smaller --seq-len.`,
    ])
    expect([short.shares[0].used, short.shares[0].heldOut]).toEqual([available - 2, 2]) // its loss is known all the same
  }
  const many = await notices(available, available)
  expect(many.shares[0].heldOut).toBe(Math.floor(available / 4))
  expect(many.messages[0]).toContain(`, and ${many.shares[0].heldOut} of ${available} are left to measure on.`)
  expect((await notices(2 * available, 0, ['a.txt', 'b.txt'])).messages).toEqual([])
  expect((await notices(2 * available + 1, 0, ['a.txt', 'b.txt'])).messages).toHaveLength(1)
})
