// Chats, from the template beside a model to what is written: the library, the binary, and the samples of a report.
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { continuations } from '../src/evaluate/continuations.ts'
import { memoryContext } from '../src/forward/context.ts'
import { generate, openEngine, openModel } from '../src/node.ts'
import { fasp, putModel, refused, TINY_LLAMA, workplaces } from './fasp.ts'
import { finish } from './finish.ts'

const workplace = workplaces()
const TEMPLATE = '{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:'
const FEW = ['--max-tokens', '8']
const withTemplate = async () => {
  const folder = await workplace()
  await putModel(folder, { 'chat_template.jinja': TEMPLATE })
  return folder
}
const stdout = async (folder: string, args: readonly string[], input?: string) => {
  const run = await fasp(['generate', ...args, ...FEW], { folder, input })
  expect(run.code, run.stderr).toBe(0)
  return run
}

test('the library answers messages as it continues what the template makes of them', async () => {
  const path = join(await withTemplate(), 'model')
  const asked = [
    { role: 'system', content: 'Be kind.' },
    { role: 'user', content: 'Who are you?' },
  ]
  const answer = await generate(path, asked, { maxTokens: 8 })
  const text = 'system: Be kind.\nuser: Who are you?\nassistant:'
  const plain = await generate(path, text, { maxTokens: 8 })
  expect(answer.prompt).toBe(`<s>${text}`)
  expect(answer.promptIds).toEqual(plain.promptIds)
  expect([answer.ids, answer.text]).toEqual([plain.ids, plain.text])
})

test('fasp generate --chat', async () => {
  const folder = await withTemplate()
  const args = ['model', '-p', 'Who are you?', '--system', 'Be kind.', '--chat']
  const answer = await stdout(folder, args)
  const { prompt, text } = JSON.parse((await stdout(folder, [...args, '--json'])).stdout)
  expect(prompt).toBe('<s>system: Be kind.\nuser: Who are you?\nassistant:')
  expect(answer.stdout).toBe(`${text}\n`)
  expect(answer.stderr).not.toContain('--chat')
  const plain = await stdout(folder, ['model', '-p', 'Who'])
  expect(plain.stdout).toMatch(/^Who/)
  expect(plain.stderr).toContain('The model has a chat template; --chat asks it as that says.')
  expect((await stdout(folder, [TINY_LLAMA, '-p', 'Who'])).stderr).not.toContain('chat')
})

test('a prompt through a pipe', async () => {
  const folder = await workplace()
  const given = await stdout(folder, [TINY_LLAMA, '-p', 'Once upon a time'])
  for (const more of [[], ['-p', '-']])
    expect((await stdout(folder, [TINY_LLAMA, ...more], 'Once upon a time\n')).stdout).toBe(given.stdout)
})

test('what cannot be answered', async () => {
  const folder = await workplace()
  await putModel(folder, { 'chat_template.jinja': '{% for i in range(999999999) %}{% endfor %}' })
  const chat = ['-p', 'Hi', '--chat']
  await refused(folder, ['generate', TINY_LLAMA, ...chat], { code: 2, says: ['has no chat template'] })
  await refused(folder, ['generate', 'model', ...chat], { says: ['chat template fails (no end after a second)'] })
  await refused(folder, ['generate', TINY_LLAMA, '-p', 'Hi', '--system', 'x'], { code: 2, says: ['Add --chat'] })
  await refused(folder, ['generate', TINY_LLAMA, '-p', '-'], {
    code: 2,
    says: ['no prompt. Give some text with -p, or'],
  })
})

test('a report asks a model with a template by it, and says so', async () => {
  await using model = await openModel(join(await withTemplate(), 'model'))
  await using plain = await openModel(TINY_LLAMA)
  await using engine = openEngine()
  const context = memoryContext(engine)
  const [sample] = await finish(continuations(context, model, ['Who?']))
  const [same] = await finish(continuations(context, plain, ['user: Who?\nassistant:']))
  expect(sample).toEqual({ prompt: 'Who?', chat: true, text: same.text })
  expect(same).not.toHaveProperty('chat')
})
