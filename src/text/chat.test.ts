// Chat templates beside apply_chat_template of transformers (test/fixtures/chat/make.py).
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { UnsupportedModelError, UsageError } from '../base/errors.ts'
import { openHuggingFace } from '../checkpoint/huggingface.node.ts'
import { within } from '../checkpoint/time-limit.node.ts'
import { applyChatTemplate, type ChatMessage, chatTemplate, encodePrompt } from './chat.ts'
import { loadTokenizer } from './tokenizer.ts'

interface Oracle {
  readonly templates: Readonly<
    Record<string, { template: string; tokens: Record<string, string>; chats: (string | { error: string })[] }>
  >
  readonly chats: readonly ChatMessage[][]
}
const fixture = new URL('../../test/fixtures/chat/chats.json', import.meta.url)
const { templates, chats }: Oracle = JSON.parse(readFileSync(fixture, 'utf8'))
const tiny = await openHuggingFace(fileURLToPath(new URL('../../assets/tiny-llama', import.meta.url)))
const jinja = (text: string) => ({ name: 'chat_template.jinja', bytes: new TextEncoder().encode(text) })
const source = (tokenizerConfig: object, sideFiles = [] as ReturnType<typeof jinja>[]) => ({
  ...{ name: 'model', within, sideFiles, tokenizerConfig: tokenizerConfig as Record<string, unknown> },
})
const HI = [{ role: 'user', content: 'Hi' }]

describe.each(Object.entries(templates))('template %s', (_, { template, tokens, chats: expected }) => {
  test.each(chats.map((chat, i) => [chat, expected[i]] as const))('%j', (chat, wanted) => {
    const from = source({ ...tokens, chat_template: template })
    if (typeof wanted === 'string') expect(applyChatTemplate(from, chat)).toBe(wanted)
    else
      expect(() => applyChatTemplate(from, chat)).toThrow(`model: its chat template fails (${wanted.error}). Give it`)
  })
})

test('where templates are', () => {
  expect(chatTemplate(source({}))).toBeUndefined()
  expect(chatTemplate(source({ chat_template: 'a' }, [jinja('b')]))).toBe('b')
  const named = [
    { name: 'tools', template: 'a' },
    { name: 'default', template: 'b' },
  ]
  expect(chatTemplate(source({ chat_template: named }))).toBe('b')
  const token = { chat_template: '{{ bos_token }}', bos_token: { content: '<s>' } }
  expect(applyChatTemplate(source(token), HI)).toBe('<s>')
})

test('the BOS is there once, where the template has it and where it has not', () => {
  const tokenizer = loadTokenizer(tiny)
  const [bos, ...ids] = tokenizer.encode('Hi')
  const encode = (chat_template: string) => {
    const tokenizerConfig = { ...tiny.tokenizerConfig, chat_template }
    return encodePrompt({ ...tiny, tokenizerConfig }, tokenizer, HI).ids
  }
  expect(encode('{{ bos_token }}{{ messages[0].content }}')).toEqual([bos, ...ids])
  expect(encode('{{ messages[0].content }}')).toEqual(ids)
  expect(encodePrompt(tiny, tokenizer, 'Hi').ids).toEqual([bos, ...ids])
})

test.each<[string, string | RegExp]>([
  ['{{ messages', 'Unexpected end of input'],
  ['{% for i in range(1000000000) %}{% endfor %}', 'no end after a second'],
  [`{% for i in range(99999) %}${'{% for j in range(99999) %}x{% endfor %}'}{% endfor %}`, 'no end after a second'],
  [
    '{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}',
    /no end after a second|Invalid array length/, // whichever comes first on this machine
  ],
  [
    "{% set n = namespace(x='a') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    'Invalid string length',
  ],
  [`{{ ${'('.repeat(8e3)}1 }}`, 'Maximum call stack size'],
  ['x'.repeat(2 ** 18 + 1), 'it has 262145 characters; at most 262144 are allowed'],
])('a template that is wrong or hostile, number %#', (chat_template, problem) => {
  let error: unknown
  try {
    applyChatTemplate(source({ chat_template }), HI)
  } catch (caught) {
    error = caught
  }
  expect(error).toBeInstanceOf(UnsupportedModelError)
  expect((error as Error).message).toMatch(problem)
})

test('without a template, or without messages', () => {
  expect(() => applyChatTemplate(source({}), HI)).toThrow(UsageError)
  expect(() => applyChatTemplate(source({}), HI)).toThrow('model: it has no chat template (chat_template.jinja')
  for (const chat of [[], [{ role: 'user' }], [undefined]])
    expect(() => applyChatTemplate(source({ chat_template: 'x' }), chat as ChatMessage[])).toThrow('list of messages')
})
