import { prune } from 'fasp'

const [model, output] = process.argv.slice(2)
const events = prune(model, { sparsity: 0.2, output }) // calibration: ['text.txt'] if you have one
let step = await events.next()
for (; !step.done; step = await events.next()) {
  if (step.value.type === 'notice') console.error(step.value.message)
}
const { widths, sizes } = step.value // the result: what the generator returns
console.log(`${widths.before.ffn} → ${widths.after[0].ffn} neurons a layer`) // here the same in all
console.log(`${sizes.parameters.before} → ${sizes.parameters.effective} parameters`)
