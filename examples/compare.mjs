// Compares methods on a model, as `fasp compare` does. usage: node examples/compare.mjs MODEL TEXT CALIBRATION RESULT.json
import { compare } from 'fasp'

const [model, text, calibration, output] = process.argv.slice(2)
const { runs } = await compare(model, {
  output, // run it again where it was stopped, and it goes on from there
  methods: ['paper', 'flap', 'stock:alpha=0.25'],
  sparsity: [0.2, 0.3],
  text: [text],
  calibration: [calibration],
  textWindows: 8,
  windows: 8,
  seqLen: 256,
  onEvent: event => event.type === 'run' && console.error(`${event.number} of ${event.total}: ${event.name}`),
})
for (const { name, sparsity, perplexity, failed } of runs)
  console.log(`${name} ${sparsity}: ${failed ?? perplexity[0].perplexity.toFixed(2)}`)
