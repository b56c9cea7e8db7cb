// fasp generate: continues a prompt or answers in a chat, token by token.
import { createReadStream } from 'node:fs'
import { text } from 'node:stream/consumers'
import { isatty } from 'node:tty'
import { UsageError } from '../base/errors.ts'
import { type ChatMessage, generate, openEngine, openModelEvents, type ProgressEvent } from '../node.ts'
import { chatTemplate } from '../text/chat.ts'
import { defineCommand } from './command.ts'
import { ENGINE_OPTIONS, engineOptions, modelArgument, OUTPUT_OPTIONS } from './process.ts'
import { showProgress } from './progress.ts'

export default defineCommand({
  usage: 'generate <folder | model.gguf | hub/id> [-p <text>] [options]',
  summary: 'Continues a text. Greedy unless a temperature is given.',
  options: {
    prompt: {
      type: 'text',
      needed: true,
      short: 'p',
      value: 'text',
      help: 'the text to continue (default, and -: from stdin)',
    },
    chat: { type: 'flag', help: 'the text is a message: answer by the chat template of the model' },
    system: { type: 'text', value: 'text', help: 'system message, with --chat' },
    'max-tokens': { type: 'integer', help: 'tokens to write (default 64)' },
    temperature: { type: 'number', help: '0 is greedy (default), 1 the model as it is' },
    'top-k': { type: 'integer', help: 'only the k most likely tokens' },
    'top-p': { type: 'number', help: 'only the most likely tokens that reach p together' },
    seed: { type: 'integer', help: 'seed of the sampling (default 0)' },
    ...ENGINE_OPTIONS,
    ...OUTPUT_OPTIONS,
  },
  examples: [
    'fasp generate my-model --chat -p "What is the capital of France?"',
    'fasp generate my-model -p "Once upon a time" --temperature 0.8 --top-p 0.95',
  ],
  async run({ options, positionals }, { result: give, signal }) {
    const path = modelArgument(positionals)
    const { chat, system } = options
    if (system !== undefined && !chat) throw new UsageError('--system is for a chat. Add --chat, or leave it out.')
    const range = (name: 'max-tokens' | 'temperature' | 'top-k' | 'top-p' | 'seed', low: number, high: number) => {
      const value = options[name]
      if (value !== undefined && !(value >= low && value <= high))
        throw new UsageError(`--${name} is ${value}; it must be from ${low} to ${high}.`)
      return value
    }
    const settings = {
      maxTokens: range('max-tokens', 1, 1e6),
      temperature: range('temperature', 0, 100),
      topK: range('top-k', 1, 1e9),
      topP: range('top-p', 1e-6, 1),
      seed: range('seed', 0, 2 ** 32 - 1),
    }
    const prompt = await readPrompt(options.prompt, signal)
    await using engine = openEngine(engineOptions(options))
    await using model = await showProgress(openModelEvents(path, { signal }))
    const { json } = options
    if (!chat && chatTemplate(model.checkpoint) !== undefined)
      process.stderr.write('The model has a chat template; --chat asks it as that says.\n')
    if (!json && !chat) process.stdout.write(prompt)
    const onEvent = (event: ProgressEvent) => {
      if (event.type === 'text' && !json) process.stdout.write(event.text)
    }
    const written = await generate(model, chat ? messages(prompt, system) : prompt, {
      ...settings,
      engine,
      signal,
      onEvent,
    })
    if (!json) process.stdout.write('\n')
    give(written)
  },
})

const messages = (prompt: string, system: string | undefined): ChatMessage[] => [
  ...(system === undefined ? [] : [{ role: 'system', content: system }]),
  { role: 'user', content: prompt },
]

/** @throws UsageError where there is none */
async function readPrompt(given: string | undefined, signal: AbortSignal): Promise<string> {
  if (given !== undefined && given !== '-') return given
  const none = new UsageError('no prompt. Give some text with -p, or through a pipe.')
  if (given === undefined && isatty(STDIN)) throw none
  // A worker's process.stdin gets nothing.
  const piped = await text(createReadStream('', { fd: STDIN, autoClose: false, signal }))
  if (piped.trim() === '') throw none
  return piped.replace(/\r?\n$/, '') // of echo
}

const STDIN = 0
