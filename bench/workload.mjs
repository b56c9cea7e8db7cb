// Prunes a random model of a known shape (workloads.json) by `paper`, 30 %, on random token ids, and says how long that takes beside this
// machine's own products: one line of JSON.
// usage: node bench/workload.mjs NAME [--windows n] [--model folder] [--products bf16] [--blas library] [--device name] [--memory GiB]
//   [--threads n] [--keep folder]   (after npm run build)
// NAME: quick (4 layers of smollm2), smollm2, opt-125m, llama-7b; llama-7b-4 has 4 layers of it. --model prunes another model instead of
// the random one; --keep works in that folder, leaves `model` and `pruned` there, and uses a model that is there again.
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { describeMachine, inspect, openEngine, openModel, prune } from '../dist/node.js'
import { header, llamaShapes } from './llama.mjs'

const text = { type: 'string' }
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: Object.fromEntries(
    ['windows', 'model', 'products', 'blas', 'device', 'memory', 'threads', 'keep'].map(name => [name, text]),
  ),
})
const number = name => (values[name] === undefined ? undefined : Number(values[name]))
const [name = 'quick'] = positionals
const WORKLOADS = JSON.parse(readFileSync(new URL('workloads.json', import.meta.url), 'utf8'))
const [, base, some] = /^(.*?)(?:-(\d+))?$/.exec(name === 'quick' ? 'smollm2-4' : name)
const found = WORKLOADS[base]
if (!found) throw new Error(`${name} is none of quick, ${Object.keys(WORKLOADS).join(', ')}`)
const wholeLayers = found.config.num_hidden_layers
const config = { ...found.config, num_hidden_layers: Number(some ?? wholeLayers) }
const windows = number('windows') ?? (name === 'quick' ? 8 : found.windows)
const engineOptions = { device: values.device, blas: values.blas, threads: number('threads') }
const folder = values.keep ?? mkdtempSync(join(tmpdir(), 'fasp-workload-'))
try {
  const path = values.model ?? join(folder, 'model')
  if (values.model === undefined && !existsSync(join(path, 'config.json'))) writeRandom(path)
  const seqLen = Math.min(found.seqLen, (await inspect(path)).context)
  const { square, peak, flops } = await ratesAndFlops(path, windows * seqLen, seqLen)
  const layerSeconds = []
  const begun = performance.now()
  let since = begun
  const result = await prune(path, {
    ...{ sparsity: 0.3, method: 'paper', products: values.products, memory: number('memory') },
    ...{
      calibration: randomWindows(config.vocab_size, windows, seqLen),
      output: join(folder, 'pruned'),
      overwrite: true,
    },
    engine: engineOptions,
    onEvent({ type }) {
      if (type === 'progress') layerSeconds.push((performance.now() - since) / 1000)
      if (type === 'progress' || type === 'phase') since = performance.now()
    },
  })
  const totalSeconds = (performance.now() - begun) / 1000
  const layers = config.num_hidden_layers
  const medianLayerSeconds = layerSeconds.slice(-layers).sort((a, b) => a - b)[Math.floor(layers / 2)]
  const measured = {
    workload: { name, model: values.model, layers, windows, seqLen, products: values.products },
    machine: describeMachine(engineOptions, values.products),
    gflops: { square, peak },
    bound: { flops, seconds: flops / peak / 1e9 },
    ...{
      totalSeconds,
      overBound: (totalSeconds * peak * 1e9) / flops,
      overSquareBound: (totalSeconds * square * 1e9) / flops,
    },
    ...{ seconds: result.seconds, engineSeconds: result.engineSeconds, outsideSeconds: result.outsideSeconds },
    ...{
      layerSeconds,
      medianLayerSeconds,
      wholeModelSeconds: totalSeconds + (wholeLayers - layers) * medianLayerSeconds,
    },
    ...{ moved: result.moved, peakMemoryBytes: 1024 * process.resourceUsage().maxRSS },
  }
  console.log(JSON.stringify(measured))
} finally {
  if (values.keep === undefined) rmSync(folder, { recursive: true })
}

/** 10⁹ FLOPs a second in float32 of a square product and of the best shape; FLOPs of one pass, attention causal, Gram matrices symmetric. */
async function ratesAndFlops(path, tokens, seqLen) {
  const model = await openModel(path)
  const { halves } = model.architecture
  await model.close()
  const engine = openEngine({ ...engineOptions, blas: false })
  const rate = async (m, k, n) => {
    const [a, b] = [m * k, k * n].map(length => Float32Array.from({ length }, (_, i) => ((i % 17) - 8) / 8))
    let best = Number.POSITIVE_INFINITY
    const until = performance.now() + 500
    for (let runs = 0; runs < 4 || performance.now() < until; runs++) {
      const before = performance.now()
      await engine.linalg.multiply(a, b, n)
      if (runs > 0) best = Math.min(best, performance.now() - before) // the first makes the session
    }
    return (2 * m * k * n) / best / 1e6
  }
  const square = await rate(2048, 2048, 2048)
  const shapes = new Map(halves.flatMap(half => [half.inputs[0], half.output]).map(l => [`${l.in} ${l.out}`, l]))
  let peak = square
  for (const { in: k, out } of shapes.values()) peak = Math.max(peak, await rate(2048, k, out))
  await engine.close() // its memory is no part of the run
  let flops = 0
  for (const { kind, inputs, output, window = seqLen } of halves) {
    for (const { in: width, out } of [...inputs, output]) flops += 2 * width * out
    flops += output.in ** 2
    if (kind === 'attention') flops += 2 * Math.min(seqLen, window) * output.in
  }
  return { square, peak, flops: flops * tokens }
}

function randomWindows(vocabulary, count, seqLen) {
  const random = randomNumbers()
  const windows = Array.from({ length: count }, () =>
    Int32Array.from({ length: seqLen }, () => Math.floor(random() * vocabulary)),
  )
  return { seqLen, windows, texts: [{ name: 'random ids', tokens: count * seqLen, available: count, used: count }] }
}

/** A folder with weights of a normal distribution of deviation 0.02, norms 1 and biases 0. The same bytes each time. */
function writeRandom(path) {
  mkdirSync(path, { recursive: true })
  const shapes = config.model_type === 'opt' ? optShapes(config) : llamaShapes(config)
  const random = randomNumbers()
  const normal = () => 0.02 * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const floats = new Uint32Array(Float32Array.from({ length: 2 ** 16 }, normal).buffer)
  const table = Uint16Array.from(floats, bits => bits >>> 16)
  let state = 1 // xorshift32 (Marsaglia 2003)
  const file = openSync(join(path, 'model.safetensors'), 'w')
  writeSync(file, header(shapes).bytes)
  for (const [name, shape] of Object.entries(shapes)) {
    const tensor = new Uint16Array(shape.reduce((n, k) => n * k, 1))
    if (shape.length === 1) tensor.fill(name.endsWith('.weight') ? 0x3f80 : 0)
    else
      for (let i = 0; i < tensor.length; i++) {
        state ^= state << 13
        state ^= state >>> 17
        state ^= state << 5
        tensor[i] = table[state >>> 16]
      }
    writeSync(file, tensor)
  }
  closeSync(file)
  cpSync(fileURLToPath(new URL('../assets/tiny-llama/tokenizer.json', import.meta.url)), join(path, 'tokenizer.json'))
  writeFileSync(join(path, 'config.json'), JSON.stringify(config)) // last: a model that is there is whole
}

function optShapes({
  hidden_size: d,
  ffn_dim: f,
  vocab_size: vocabulary,
  max_position_embeddings: positions,
  ...more
}) {
  const norm = at => ({ [`${at}.weight`]: [d], [`${at}.bias`]: [d] })
  const linear = (at, out, width) => ({ [`${at}.weight`]: [out, width], [`${at}.bias`]: [out] })
  const at = 'model.decoder'
  const layers = Array.from({ length: more.num_hidden_layers }, (_, i) => ({
    ...Object.assign({}, ...['q', 'k', 'v', 'out'].map(p => linear(`${at}.layers.${i}.self_attn.${p}_proj`, d, d))),
    ...norm(`${at}.layers.${i}.self_attn_layer_norm`),
    ...linear(`${at}.layers.${i}.fc1`, f, d),
    ...linear(`${at}.layers.${i}.fc2`, d, f),
    ...norm(`${at}.layers.${i}.final_layer_norm`),
  }))
  return {
    [`${at}.embed_tokens.weight`]: [vocabulary, d],
    [`${at}.embed_positions.weight`]: [positions + 2, d],
    ...Object.assign({}, ...layers),
    ...norm(`${at}.final_layer_norm`),
  }
}

/** Mulberry32. */
function randomNumbers() {
  let state = 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
