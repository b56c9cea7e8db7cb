// fasp generate: continues a prompt, token by token.

import { UsageError } from '../errors.ts'
import { describeModel, generate, loadTokenizer, openEngine, openModel } from '../node.ts'
import { defineCommand } from './command.ts'
import { ENGINE_OPTIONS, engineOptions, modelArgument } from './environment.ts'
import { showProgress } from './progress.ts'

export default defineCommand({
  usage: 'generate <folder | model.gguf | hub/id> -p <text> [options]',
  summary: 'Continues a text. Greedy unless a temperature is given.',
  options: {
    prompt: { type: 'text', short: 'p', value: 'text', help: 'the text to continue' },
    'max-tokens': { type: 'integer', help: 'tokens to write (default 64)' },
    temperature: { type: 'number', help: '0 is greedy (default), 1 the model as it is' },
    'top-k': { type: 'integer', help: 'only the k most likely tokens' },
    'top-p': { type: 'number', help: 'only the most likely tokens that reach p together' },
    seed: { type: 'integer', help: 'seed of the sampling (default 0)' },
    ...ENGINE_OPTIONS,
    json: { type: 'flag', help: 'print text and token ids as JSON, last line' },
  },
  examples: ['fasp generate my-model -p "Once upon a time" --temperature 0.8 --top-p 0.95'],
  async run({ options, positionals }, { print, signal }) {
    const path = modelArgument(positionals)
    const { prompt } = options
    if (prompt === undefined) throw new UsageError('no prompt. Give some text with -p.')
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
    await using engine = openEngine(engineOptions(options))
    await using checkpoint = await showProgress(openModel(path, { signal }))
    const tokenizer = loadTokenizer(checkpoint)
    const promptIds = [...tokenizer.encode(prompt)]
    const ids: number[] = []
    let shown = ''
    if (!options.json) process.stdout.write(prompt)
    for await (const id of generate(describeModel(checkpoint), engine, promptIds, settings, signal)) {
      ids.push(id)
      const text = tokenizer.decode(ids)
      if (options.json || text.endsWith('\ufffd')) continue // half of a character: wait for the rest
      process.stdout.write(text.slice(shown.length))
      shown = text
    }
    if (options.json) print(JSON.stringify({ prompt, text: tokenizer.decode(ids), promptIds, ids }))
    else print(tokenizer.decode(ids).slice(shown.length))
  },
})
