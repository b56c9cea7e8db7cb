// What each layout saves in each runtime: weights on disk, memory, key-value cache, prefill of 512 tokens and decode of 32, in transformers
// (bfloat16), llama.cpp (Q8_0) and transformers.js (fp32), of SmolLM2-135M dense and with 30 % of the decoder linears gone.
// usage: node bench/layouts.mjs PYTHON [--runs 5] [--threads n] [--decode 32] [--runtimes torch,llama,js:q8,…] [--layouts 'dense;stock;…']
//   (after npm run build)
//   PYTHON has torch, transformers. Some four minutes on an idle machine, and three more the first time: models are kept in
//   ~/.cache/fasp-bench/layouts (FASP_BENCH_CACHE); remove that to make them again.
// Prints two Markdown tables: medians [lowest–highest], and the medians as ratios to dense of the same turn.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { availableParallelism, cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { VERSION as NODE_LLAMA_CPP, nodeLlamaCpp } from '../scripts/llama-cpp.mjs'
import { cache, fasp, median, PROMPT, pruneSmolLM2, spread, takeTurns } from './runtimes.mjs'

const COMPACT = 'compact, one width'
/** Few windows: what is kept does not change the speed, but widths of each layer should be ones that are chosen so. */
const LAYOUTS = {
  dense: folder => pruneSmolLM2(folder, 0, '--windows', '1'),
  stock: folder => pruneSmolLM2(folder, 0.3, '--windows', '8', '--method', 'plain'),
  padded: folder => fasp('export', made(COMPACT), '--to', 'padded', '-o', folder),
  [COMPACT]: folder =>
    pruneSmolLM2(folder, 0.3, '--windows', '8', '--method', 'plain:scope=ffn+per-head:layout=compact'),
  'compact, best': folder => pruneSmolLM2(folder, 0.3, '--windows', '8', '--method', 'best'),
}
const RUNTIMES = {
  torch: { name: 'transformers, bfloat16', runtime: 'torch', dtype: 'bfloat16' },
  llama: { name: 'llama.cpp, Q8_0', runtime: 'llama', to: 'gguf:q8_0', file: 'model.gguf' },
  ...Object.fromEntries(
    ['fp32', 'fp16', 'q8', 'q4', 'q4f16'].map(dtype => [
      `js:${dtype}`,
      { name: `transformers.js, ${dtype}`, runtime: 'js', dtype, to: `onnx:${dtype}` },
    ]),
  ),
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '5' },
    decode: { type: 'string', default: '32' },
    threads: { type: 'string', default: String(availableParallelism()) },
    runtimes: { type: 'string', default: 'torch,llama,js:fp32' },
    layouts: { type: 'string', default: Object.keys(LAYOUTS).join(';') },
  },
})
const [python] = positionals
if (!python) throw new Error('usage: node bench/layouts.mjs PYTHON')
const settings = { runs: Number(values.runs), decode: Number(values.decode), threads: Number(values.threads), python }
const names = values.layouts.split(';')
nodeLlamaCpp() // installs it
const folders = names.map(made)

console.log(`${versions()}; ${cpus()[0].model}, ${settings.threads} threads; load ${loadavg()[0].toFixed(1)}\n`)
const columns = ['weights, MB', 'memory, MB', 'cache, kB a token', 'prefill, tokens/s', 'decode, tokens/s']
const rows = []
const ratios = new Map(names.map(name => [name, []]))
for (const key of values.runtimes.split(',')) {
  const { name: title, runtime, dtype, to, file = '' } = RUNTIMES[key]
  const models = folders.map(folder => (to ? exported(folder, to) : folder))
  const processes = models.map(folder => ({ runtime, dtype, model: join(folder, file) }))
  const turns = await takeTurns(processes, settings)
  const disk = models.map(weightBytes)
  for (const [i, name] of names.entries()) {
    const of = pick => turns[i].map(pick)
    const beside = pick => median(turns[i].map((turn, t) => pick(turn) / pick(turns[0][t])))
    rows.push([
      title,
      name,
      (disk[i] / 1e6).toFixed(1),
      (median(of(turn => turn.memory)) / 1e6).toFixed(0),
      (turns[i][0].cache / 1e3).toFixed(2),
      spread(
        of(turn => PROMPT / turn.prefill),
        0,
      ),
      spread(
        of(turn => settings.decode / turn.decode),
        0,
      ),
    ])
    const fields = [turn => turn.memory, turn => turn.cache, turn => 1 / turn.prefill, turn => 1 / turn.decode]
    ratios.get(name).push([disk[i] / disk[0], ...fields.map(beside)].map(ratio => ratio.toFixed(2)).join(' · '))
  }
  console.error(`${title}: load ${loadavg()[0].toFixed(1)}`)
}
const table = (head, body) => {
  const line = cells => `| ${cells.join(' | ')} |`
  console.log([line(head), line(head.map((_, i) => (i === 0 ? '---' : '---:'))), ...body.map(line), ''].join('\n'))
}
table(['runtime', 'layout', ...columns], rows)
const shown = values.runtimes.split(',').map(key => RUNTIMES[key].name)
table(
  ['layout', ...shown],
  [...ratios].slice(1).map(([name, cells]) => [name, ...cells]),
)
console.log('weights on disk · memory · cache · prefill · decode, of dense')

function made(name) {
  const folder = join(cache, 'layouts', name.replace(/\W+/g, '-'))
  if (!existsSync(folder)) LAYOUTS[name](folder)
  return folder
}

/** What a runtime loads. */
function exported(source, to) {
  const folder = `${source}.${to.replace(':', '-')}`
  if (!existsSync(folder)) fasp('export', source, '--to', to, '-o', folder)
  return folder
}

function weightBytes(folder) {
  const files = readdirSync(folder, { recursive: true }).filter(file =>
    /\.(safetensors|gguf|onnx|onnx_data.*)$/.test(file),
  )
  return files.reduce((sum, file) => sum + statSync(join(folder, file)).size, 0)
}

function versions() {
  const code = 'import torch, transformers as t; print(f"torch {torch.__version__}, transformers {t.__version__}")'
  const torch = execFileSync(python, ['-c', code], { encoding: 'utf8' }).trim()
  const { version } = JSON.parse(
    readFileSync(new URL('../node_modules/@huggingface/transformers/package.json', import.meta.url)),
  )
  return `${torch}, node-llama-cpp ${NODE_LLAMA_CPP}, transformers.js ${version}, Node ${process.versions.node}`
}
