// Speed of the pruned model where users run it: prefill of 512 tokens and decode of 64, dense beside pruned, in PyTorch (transformers,
// float32), ONNX Runtime (our Decoder, float32) and llama.cpp (node-llama-cpp, weights F16 or --gguf TYPE).
// usage: node bench/speed.mjs PYTHON [--runs 5] [--threads n] [--widths 896,900,…] [--runtimes torch,ort,llama]   (after npm run build)
//   PYTHON has torch, transformers. Without --widths: SmolLM2-135M dense and `fasp prune -s 0.3`. With: its FFNs at those widths.
// Each model runs in a process of its own; they take turns, so that load on the machine hits all alike. Prints a Markdown table of
// medians [lowest–highest]; the speed-up is the median of the ratios of neighbouring runs.
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { availableParallelism, cpus, homedir, loadavg } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { nodeLlamaCpp } from '../scripts/llama-cpp.mjs'

const PROMPT = 512
const DECODE = 64
const ids = Array.from({ length: PROMPT }, (_, i) => ((i * 7919 + 13) % 40000) + 100)
const root = fileURLToPath(new URL('..', import.meta.url))
const shared = process.env.FASP_SHARED ?? join(root, '../shared')
const cache = process.env.FASP_BENCH_CACHE ?? join(homedir(), '.cache/fasp-bench')
/** The library's inner modules, bundled where they find its dependencies. */
const bundle = join(root, 'node_modules/.cache/fasp-bench')

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '5' },
    threads: { type: 'string', default: String(availableParallelism()) },
    widths: { type: 'string' },
    runtimes: { type: 'string', default: 'torch,ort,llama' },
    gguf: { type: 'string', default: 'f16' }, // type of the weights in llama.cpp
    serve: { type: 'string' }, // a child: the runtime it is for
  },
})
const threads = Number(options.threads)
if (options.serve) await serve(options.serve, positionals[0])
else await main(positionals[0])

async function main(python) {
  if (!python) throw new Error('usage: node bench/speed.mjs PYTHON')
  const runtimes = options.runtimes.split(',')
  const models = options.widths
    ? narrowModels(python, options.widths.split(','))
    : [makeModel('dense', 0, 1), makeModel('pruned', 0.3, 16)]
  if (runtimes.includes('llama')) nodeLlamaCpp() // installs it
  if (runtimes.includes('ort')) bundleDecoder()
  console.log(`${cpus()[0].model}, ${threads} threads; load before: ${loadavg()[0].toFixed(1)}\n`)
  console.log('| runtime | model | prefill, tokens/s | × | decode, tokens/s | × |\n|---|---|---:|---:|---:|---:|')
  for (const runtime of runtimes) {
    const servers = models.map(model => start(python, runtime, model))
    const runs = models.map(() => [])
    for (let run = -1; run < Number(options.runs); run++)
      for (const [i, server] of servers.entries()) {
        const seconds = await server.next()
        if (run >= 0) runs[i].push(seconds) // the first warms up
      }
    for (const server of servers) server.stop()
    models.forEach(({ name }, i) => {
      const cells = [
        ['prefill', PROMPT],
        ['decode', DECODE],
      ].flatMap(([kind, tokens]) => {
        const speeds = runs[i].map(r => tokens / r[kind])
        const ratios = runs[i].map((r, j) => runs[0][j][kind] / r[kind])
        return [spread(speeds, 0), i === 0 ? '' : spread(ratios, 2)]
      })
      console.log(`| ${runtime} | ${name} | ${cells.join(' | ')} |`)
    })
    console.error(
      `${runtime}: tokens after the prompt ${runs.map(r => r[0].token).join(', ')}; load ${loadavg()[0].toFixed(1)}`,
    )
  }
}

function spread(numbers, digits) {
  const sorted = numbers.toSorted((a, b) => a - b)
  const show = n => n.toFixed(digits)
  const middle = sorted.length / 2 - 0.5
  const median = (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2
  return `${show(median)} [${show(sorted[0])}–${show(sorted.at(-1))}]`
}

/** SmolLM2-135M as a Hugging Face folder in the stock layout. How few tokens it is calibrated on does not change its speed. */
function makeModel(name, sparsity, windows) {
  const folder = join(cache, name)
  const calibration = join(shared, 'data/calibration/wikitext2-valid.txt')
  const args = [join(root, 'dist/cli.js'), 'prune', fetchModel(), '-s', String(sparsity), '-o', folder, '--overwrite']
  const text = ['--calibration', calibration, '--samples', String(windows), '--seq-len', '256']
  execFileSync(process.execPath, [...args, ...text], { stdio: ['ignore', 'ignore', 'inherit'] })
  return { name, folder }
}

function narrowModels(python, widths) {
  const dense = makeModel('dense', 0, 1)
  return [
    dense,
    ...widths.map(width => {
      const folder = join(cache, `width-${width}`)
      execFileSync(python, [join(root, 'bench/speed.py'), 'narrow', dense.folder, folder, width], { stdio: 'inherit' })
      return { ...dense, name: width, folder }
    }),
  ]
}

function fetchModel() {
  mkdirSync(cache, { recursive: true })
  return execFileSync(join(shared, 'scripts/fetch-smollm2.sh'), { encoding: 'utf8' }).trim()
}

function bundleDecoder() {
  const entries = ['src/blocks/decoder.ts', 'src/node.ts']
  const args = [
    'tsdown',
    '--no-config',
    '--no-dts',
    '--format',
    'esm',
    '--platform',
    'node',
    '--out-dir',
    bundle,
    ...entries,
  ]
  execFileSync('npx', args, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] })
}

/** A process that times one prefill and decode for each line it is sent. */
function start(python, runtime, { folder }) {
  let model = folder
  if (runtime === 'llama') {
    model = `${folder}.${options.gguf}.gguf`
    rmSync(model, { force: true })
    const args = ['export', folder, '--to', `gguf:${options.gguf}`, '-o', model]
    execFileSync(process.execPath, [join(root, 'dist/cli.js'), ...args], { stdio: ['ignore', 'ignore', 'inherit'] })
  }
  const [command, ...args] =
    runtime === 'torch'
      ? [python, join(root, 'bench/speed.py'), 'serve', model, String(threads)]
      : [process.execPath, fileURLToPath(import.meta.url), '--serve', runtime, '--threads', String(threads), model]
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'ignore'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    async next() {
      child.stdin.write('\n')
      for (;;) {
        const { value, done } = await lines.next()
        if (done)
          throw new Error(`${runtime} ended on ${model}; run it alone to see why: ${[command, ...args].join(' ')}`)
        if (value.startsWith('{')) return JSON.parse(value)
      }
    },
    stop: () => child.stdin.end(),
  }
}

async function serve(runtime, path) {
  const turn = runtime === 'ort' ? await onnxRuntime(path) : await llamaCpp(path)
  for await (const _ of createInterface({ input: process.stdin })) console.log(JSON.stringify(await turn()))
  process.exit(0)
}

async function onnxRuntime(path) {
  const load = name => import(pathToFileURL(join(bundle, name)).href)
  const [{ Decoder }, { openCheckpoint, describeModel, openEngine }] = [
    await load('blocks/decoder.mjs'),
    await load('node.mjs'),
  ]
  const model = describeModel(await openCheckpoint(path))
  const engine = openEngine({ threads })
  const decoder = await Decoder.open(model, engine, 1, PROMPT + DECODE)
  const best = logits => logits.reduce((top, value, i) => (value > logits[top] ? i : top), 0)
  return async () => {
    for (const cache of decoder.caches) cache.past = 0
    const started = performance.now()
    const token = best(await decoder.step([Int32Array.from(ids)]))
    const prefilled = performance.now()
    for (let i = 0, next = token; i < DECODE; i++) next = best(await decoder.step([Int32Array.of(next)]))
    return { prefill: (prefilled - started) / 1000, decode: (performance.now() - prefilled) / 1000, token }
  }
}

async function llamaCpp(path) {
  const { getLlama } = await import(nodeLlamaCpp())
  const llama = await getLlama({ build: 'never', gpu: false, maxThreads: threads, logLevel: 'error' })
  const model = await llama.loadModel({ modelPath: path })
  const context = await model.createContext({ contextSize: PROMPT + DECODE + 8, batchSize: PROMPT, threads })
  const sequence = context.getSequence()
  return async () => {
    await sequence.clearHistory()
    const started = performance.now()
    await sequence.evaluateWithoutGeneratingNewTokens(ids.slice(0, -1))
    const tokens = sequence.evaluate([ids.at(-1)], { temperature: 0, yieldEogToken: true })
    const { value: token } = await tokens.next()
    const prefilled = performance.now()
    for (let i = 0; i < DECODE; i++) await tokens.next()
    const ended = performance.now()
    await tokens.return()
    return { prefill: (prefilled - started) / 1000, decode: (ended - prefilled) / 1000, token }
  }
}
