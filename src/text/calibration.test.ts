import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { told } from '../../test/hub.ts'
import { finish } from '../base/events.ts'
import { openHuggingFace } from '../checkpoint/huggingface.node.ts'
import type { Context } from '../forward/context.ts'
import { memoryContext } from '../forward/context.ts'
import { describeModel } from '../model/model.ts'
import { openEngine } from '../node.ts'
import { calibration, OWN_TEXT, textsOrWindows } from './calibration.ts'
import { SELF_TEXT } from './sample.ts'
import { loadTokenizer } from './tokenizer.ts'

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

test('beside texts the model writes a share, some of it from where these begin, and a chat model from where a message does', async () => {
  await using engine = openEngine()
  const options = { windows: 7, heldOut: 1, seqLen: 40, seed: 0 }
  const write = (of: typeof model, texts: (typeof OWN_TEXT)[]) =>
    finish(calibration(memoryContext(engine), of, { texts }, options))
  const named = { ...OWN_TEXT, own: undefined, name: 'a.txt', text }
  const both = await write(model, [OWN_TEXT, named])
  expect(both.texts.map(({ name, used, heldOut }) => [name, used, heldOut])).toEqual([
    ['a.txt', 4, 1],
    [SELF_TEXT, 3, 1],
  ])
  expect([both.windows.length, both.heldOut!.length]).toEqual([7, 2])
  const alone = await write(model, [named])
  expect(both.windows.slice(0, 4)).toEqual(
    (await finish(calibration(memoryContext(engine), model, { texts: [named] }, { ...options, windows: 4 }))).windows,
  )
  expect(alone.texts).toHaveLength(1)
  const starts = new Set(both.windows.slice(4).map(ids => `${ids.subarray(0, 32)}`))
  expect(both.windows.slice(0, 4).some(ids => starts.has(`${ids.subarray(0, 32)}`))).toBe(true)

  const chat_template = '{% for message in messages %}It was the {{ message.role }}: {{ message.content }}{% endfor %}'
  const chat = {
    ...model,
    checkpoint: { ...model.checkpoint, tokenizerConfig: { ...model.checkpoint.tokenizerConfig, chat_template } },
  }
  const { windows } = await write(chat, [named, OWN_TEXT])
  const tokenizer = loadTokenizer(model.checkpoint)
  const asked = windows.filter(ids => tokenizer.decode(ids).startsWith('It was the user:'))
  expect(asked).toEqual(windows.slice(6, 7)) // the third of its own

  const byItself = (of: typeof model) => finish(calibration(memoryContext(engine), of, {}, options))
  expect(await byItself(chat)).toEqual(await byItself(model)) // bench/log.md: chats alone are worse to calibrate on
})

test('what the model writes stands alone or beside texts', () => {
  expect(textsOrWindows(undefined)).toEqual({})
  expect(textsOrWindows([])).toEqual({ texts: [] })
  expect(textsOrWindows(['self'])).toEqual({})
  expect(textsOrWindows([OWN_TEXT])).toEqual({})
  expect(textsOrWindows(['self', 'a.txt'])).toEqual({ texts: ['self', 'a.txt'] })
})
