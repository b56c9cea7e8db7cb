// What methods lose where calibration tokens are few for the width, on the text calibrated on and on others, and by what text is calibrated on.
// usage: node bench/few-tokens.mjs [--tokens 2048,8192,32768,65536] [--methods plain,stock,best] [--on wikitext2-valid,novels,self] [-s 0.2]
//   [--products bf16] [--model folder] [--results bench/results/few-tokens.json]   (after npm run build; FASP_SHARED)
// Calibrates on windows of 512 tokens, of 256 where the model writes them; measures on 4 more of these, held out, and on the first 16 × 512
// tokens of each text. Goes on where it was stopped, run by run, and prints a Markdown table of all that the results file holds.
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { evaluate, inspect, openEngine, prune } from '../dist/node.js'

const shared = process.env.FASP_SHARED ?? '../shared'
const TEXTS = ['wikitext2-test', 'c4-like', 'prose-heldout'].map(name => join(shared, 'data/eval', `${name}.txt`))
const { values } = parseArgs({
  options: {
    tokens: { type: 'string', default: '2048,8192,32768,65536' },
    methods: { type: 'string', default: 'plain,stock,best' },
    on: { type: 'string', default: 'wikitext2-valid,novels,self' },
    sparsity: { type: 'string', short: 's', default: '0.2' },
    products: { type: 'string', default: 'float32' },
    model: { type: 'string' },
    results: { type: 'string', default: 'bench/results/few-tokens.json' },
  },
})
const model = values.model ?? `${execFileSync('bash', [join(shared, 'scripts/fetch-smollm2.sh')])}`.trim()
const { ffnWidth } = await inspect(model)
const rows = existsSync(values.results) ? JSON.parse(readFileSync(values.results, 'utf8')) : []
const engine = openEngine()
const output = mkdtempSync(join(tmpdir(), 'few-tokens-'))

async function measure(on, tokens, method) {
  const seqLen = on === 'self' ? 256 : 512
  const calibration = on === 'self' ? undefined : [join(shared, 'data/calibration', `${on}.txt`)]
  const { sparsity, products } = values
  const options = { method, sparsity: Number(sparsity), products, calibration, seqLen, windows: tokens / seqLen }
  const made = await prune(model, { ...options, heldOut: 4, output, overwrite: true, engine })
  const { perplexity } = await evaluate(output, { text: TEXTS, seqLen: 512, windows: 16, engine })
  const { dense, pruned } = made.calibration.texts[0].loss.heldOut
  return { seconds: made.seconds, cost: pruned - dense, perplexity: perplexity.map(text => text.perplexity) }
}

for (const tokens of values.tokens.split(',').map(Number))
  for (const on of values.on.split(','))
    for (const method of values.methods.split(',')) {
      const asked = { model, on, tokens, method, sparsity: values.sparsity, products: values.products }
      if (rows.some(row => JSON.stringify(row.asked) === JSON.stringify(asked))) continue
      rows.push({ asked, ...(await measure(on, tokens, method)) })
      writeFileSync(values.results, JSON.stringify(rows, undefined, 1))
    }
await engine.close()
rmSync(output, { recursive: true })

const seconds = ({ 'calibration text': text = 0, allocate = 0, prune }) =>
  [text, allocate + prune].map(Math.round).join(' + ')
const names = TEXTS.map(text => basename(text, '.txt'))
const table = [
  ['calibrated on', 'tokens', 'a neuron', 'method', 'nats held out', ...names, 'text + pruning, s'],
  ['---', '---:', '---:', '---', '---:', ...names.map(() => '---:'), '---:'],
  ...rows.map(row => {
    const { on, tokens, method } = row.asked
    const measured = [row.cost.toFixed(3), ...row.perplexity.map(value => value.toFixed(2)), seconds(row.seconds)]
    return [on, tokens, (tokens / ffnWidth).toFixed(1), method, ...measured]
  }),
]
for (const cells of table) console.log(`| ${cells.join(' | ')} |`)
