import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { told } from '../../test/hub.ts'
import { nightly } from '../../test/nightly.ts'
import { openHuggingFace } from '../checkpoint/huggingface.node.ts'
import { tokenize } from './tokenize.ts'
import { loadTokenizer } from './tokenizer.ts'

const tokenizer = loadTokenizer(
  await openHuggingFace(fileURLToPath(new URL('../../assets/tiny-llama', import.meta.url))),
)
const line = (i: number) => `Line number ${i} of a long story, in which nothing at all happens to a little girl.\n`
const lines = (n: number) => Array.from({ length: n }, (_, i) => line(i)).join('')
const read = (text: string, wanted: number, which: 'spread' | 'first', signal?: AbortSignal) =>
  told(tokenize(tokenizer, 'a.txt', text, { wanted, which, signal }))

nightly('a text is read whole, in steps that change nothing', async () => {
  const text = lines(20_000) // 1.7 M characters
  const { result, events } = await read(text, 10, 'spread')
  expect(result.text).toBe(text)
  expect(result.ids).toEqual(tokenizer.encode(text))
  expect(events[0]).toEqual({ type: 'phase', phase: 'read text', total: text.length, unit: 'characters' })
  expect(events.at(-1)).toEqual({ type: 'progress', done: text.length })
  expect(events.length).toBeGreaterThan(6)
})

test('of a long text lines from all over it are read, or the first', async () => {
  const text = lines(60_000) // 5.2 M
  const { result, events } = await read(text, 10, 'spread')
  const found = result.text.trimEnd().split('\n')
  expect(result.text.length).toBeGreaterThan(4e6)
  expect(result.text.length).toBeLessThan(4.3e6)
  const numbers = found.map(one => Number(/number (\d+)/.exec(one)![1]))
  expect(found.map((_, i) => line(numbers[i]))).toEqual(found.map(one => `${one}\n`)) // whole
  expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b))
  expect(numbers.at(-1)).toBeGreaterThan(59_500)
  expect(events.at(-1)).toEqual({
    type: 'notice',
    message: `a.txt: 4.2 M of ${(text.length / 1e6).toFixed(1)} M characters are read, spread over the text.`,
  })
  const { result: first } = await read(text, 10, 'first')
  expect(text.startsWith(first.text)).toBe(true)
  expect([first.text.length < 4.3e6, first.text.endsWith('\n')]).toEqual([true, true])
})

nightly('where that gives too few tokens more is read', async () => {
  const text = 'a '.repeat(3e6)
  const tokens = tokenizer.encode(text).length
  expect((await read(text, tokens, 'first')).result.ids).toHaveLength(tokens)
  expect((await read(text, Infinity, 'first')).result.ids).toHaveLength(tokens)
})

test('it is given up where it is told to', async () => {
  const controller = new AbortController()
  const events = tokenize(tokenizer, 'a.txt', lines(20_000), { wanted: 1, which: 'first', signal: controller.signal })
  await events.next()
  await events.next()
  controller.abort(new Error('enough'))
  await expect(events.next()).rejects.toThrow('enough')
})
