// Prunes a model, as `fasp prune` does. usage: node examples/prune.mjs MODEL OUTPUT
import { prune } from 'fasp'

const [model, output] = process.argv.slice(2)
const { widths, sizes } = await prune(model, {
  sparsity: 0.2,
  output, // calibration: ['text.txt'] if you have one
  onEvent: event => event.type === 'notice' && console.error(event.message),
})
console.log(`${widths.before.ffn} → ${widths.after[0].ffn} neurons a layer`) // here the same in all
console.log(`${sizes.parameters.before} → ${sizes.parameters.effective} parameters`)
