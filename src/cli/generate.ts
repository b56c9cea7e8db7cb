// fasp generate: continues a prompt or answers in a chat, token by token.
import { createReadStream } from 'node:fs'
import { text } from 'node:stream/consumers'
import { isatty } from 'node:tty'
import { UsageError } from '../base/errors.ts'
import { type ChatMessage, chatTemplate, generate, openEngine, openModelEvents, type ProgressEvent } from '../node.ts'
import { given } from './arguments.ts'
import { defineCommand } from './command.ts'
import { engineOptions, modelArgument } from './process.ts'
import { showProgress } from './progress.ts'

export default defineCommand({
  verb: 'generate',
  usage: 'generate <folder | model.gguf | hub/id> [-p <text>] [options]',
  summary: 'Continues a text. Greedy unless a temperature is given.',
  examples: [
    'fasp generate my-model --chat -p "What is the capital of France?"',
    'fasp generate my-model -p "Once upon a time" --temperature 0.8 --top-p 0.95',
  ],
  async run({ options, positionals }, { result: give, signal }) {
    const path = modelArgument(positionals)
    const { chat, system } = options
    if (system !== undefined && !chat) throw new UsageError('--system is for a chat. Add --chat, or leave it out.')
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
    const asked = chat ? messages(prompt, system) : prompt
    const written = await generate(model, asked, { ...given('generate', options), engine, signal, onEvent })
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
