// Text that a chat model writes: its answers to prompts, at temperature 0.7, to calibrate on and to heal on beside other texts.
// usage: node bench/answers.mjs MODEL PROMPTS OUT [TOKENS]   PROMPTS has one in each line, and they are asked in turns until so many tokens
//   are read and written (163,840 without); OUT gets each prompt and its answer, without what the chat template sets around them
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { bundled, bundleModules } from './runtimes.mjs'

const TEMPERATURE = 0.7
/** Answers at once, and positions for each of them and of those after it. */
const SEQUENCES = 64
const LENGTH = 512

const [path, file, out, tokens = 163_840] = process.argv.slice(2)
bundleModules('forward/decoder', 'forward/generate', 'forward/sampler', 'base/random', 'text/chat', 'text/tokenizer')
const { Decoder } = await bundled('forward/decoder')
const { endTokens } = await bundled('forward/generate')
const { pickToken } = await bundled('forward/sampler')
const { randomNumbers } = await bundled('base/random')
const { encodePrompt } = await bundled('text/chat')
const { loadTokenizer } = await bundled('text/tokenizer')
const { openEngine, openModel } = await bundled('node')

const model = await openModel(path)
const tokenizer = loadTokenizer(model.checkpoint)
const { vocabularySize } = model.architecture
const end = endTokens(model)
const random = randomNumbers(0)
const prompts = readFileSync(file, 'utf8').trim().split('\n')
const answers = []
let asked = 0

/** The next prompt, and what is to be read of it before the model answers. */
function ask() {
  const prompt = prompts[asked++ % prompts.length]
  const answer = { prompt, ids: [] }
  answers.push(answer)
  return { answer, unread: encodePrompt(model.checkpoint, tokenizer, [{ role: 'user', content: prompt }]).ids }
}

const decoder = await Decoder.open(model, openEngine(), SEQUENCES, LENGTH)
for (let written = 0; written < tokens; written += SEQUENCES * LENGTH) {
  decoder.reset()
  const texts = Array.from({ length: SEQUENCES }, ask)
  for (const text of texts) text.next = text.unread.shift()
  for (let position = 1; position < LENGTH; position++) {
    const read = texts.map(({ next }) => Int32Array.of(next))
    const probabilities = await decoder.step(read, TEMPERATURE)
    for (const [s, text] of texts.entries())
      if (text.unread.length > 0) text.next = text.unread.shift()
      else {
        const row = probabilities.subarray(s * vocabularySize, (s + 1) * vocabularySize)
        text.next = pickToken(row, { temperature: TEMPERATURE }, random)
        if (end.has(text.next)) Object.assign(text, ask())
        else text.answer.ids.push(text.next)
      }
  }
}
const given = answers.filter(({ ids }) => ids.length > 0)
const text = given.map(({ prompt, ids }) => `${prompt}\n\n${tokenizer.decode(ids).trim()}\n`).join('\n')
writeFileSync(`${out}.part`, text)
renameSync(`${out}.part`, out)
