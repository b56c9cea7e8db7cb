// Perplexity of a model and what it writes, opened once. usage: node examples/measure.mjs MODEL TEXT
import { generate, openEngine, openModel, perplexity } from 'fasp'

const [path, text] = process.argv.slice(2)
const engine = openEngine()
const model = await openModel(path)
try {
  const { perplexity: value, windows } = await perplexity(model, text, { engine, seqLen: 256, windows: 8 })
  console.log(`perplexity ${value.toFixed(2)} on ${windows} windows`)
  const onEvent = event => event.type === 'text' && process.stderr.write(event.text)
  const { ids } = await generate(model, 'It was a dark', { engine, maxTokens: 16, onEvent })
  console.log(`${ids.length} tokens written`)
} finally {
  await model.close() // in TypeScript, and from Node 24 on: await using
  await engine.close()
}
