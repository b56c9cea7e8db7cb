// A model in a runtime, timed in a process of its own: prefill of 512 tokens, then tokens one by one. Used by speed.mjs and layouts.mjs.
// usage: node bench/runtimes.mjs RUNTIME MODEL THREADS DTYPE   RUNTIME ort, llama or js; for each number on stdin, so many tokens are decoded
// and a JSON line tells seconds of both, the first token, and where known the process's memory beyond that of the runtime without a
// model, and bytes of the key-value cache a token. `torch` is bench/speed.py serve, which does the same.
import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { nodeLlamaCpp } from '../scripts/llama-cpp.mjs'

export const PROMPT = 512
const root = fileURLToPath(new URL('..', import.meta.url))
export const shared = process.env.FASP_SHARED ?? join(root, '../shared')
export const cache = process.env.FASP_BENCH_CACHE ?? join(homedir(), '.cache/fasp-bench')
/** The library's inner modules, bundled where they find its dependencies. */
const bundle = join(root, 'node_modules/.cache/fasp-bench')

/** The built command line. */
export const cli = join(root, 'dist/cli.js')

/** Runs it. */
export function fasp(...args) {
  execFileSync(process.execPath, [cli, ...args], { stdio: ['ignore', 'ignore', 'inherit'] })
}

/** Path of SmolLM2-135M, fetched when it is not there. */
export const smollm2 = () => execFileSync(join(shared, 'scripts/fetch-smollm2.sh'), { encoding: 'utf8' }).trim()

/** SmolLM2-135M at 30 % or another sparsity, as a folder. How few tokens it is calibrated on does not change its speed. */
export function pruneSmolLM2(folder, sparsity, ...args) {
  mkdirSync(cache, { recursive: true })
  const text = ['--calibration', join(shared, 'data/calibration/wikitext2-valid.txt'), '--seq-len', '256']
  fasp('prune', smollm2(), '-s', String(sparsity), '-o', folder, '--overwrite', ...text, ...args)
}

/**
 * Times every model as often as `runs` says, in turns after one that warms up.
 * @param processes { runtime, model, dtype } each
 * @returns for each its turns
 */
export async function takeTurns(processes, { runs, decode, threads, python }) {
  const servers = processes.map(one => start(one, threads, python))
  const results = servers.map(() => [])
  for (let run = -1; run < runs; run++)
    for (const [i, server] of servers.entries()) {
      const turn = await server.next(decode)
      if (run >= 0) results[i].push(turn)
    }
  for (const server of servers) server.stop()
  return results
}

function start({ runtime, model, dtype = '' }, threads, python) {
  const [command, script, ...verb] =
    runtime === 'torch'
      ? [python, join(root, 'bench/speed.py'), 'serve']
      : [process.execPath, fileURLToPath(import.meta.url), runtime]
  const args = [script, ...verb, model, String(threads), dtype]
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'ignore'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    async next(decode) {
      child.stdin.write(`${decode}\n`)
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

export function median(numbers) {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = sorted.length / 2 - 0.5
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2
}

/** Median [lowest–highest]. */
export const spread = (numbers, digits) =>
  `${median(numbers).toFixed(digits)} [${Math.min(...numbers).toFixed(digits)}–${Math.max(...numbers).toFixed(digits)}]`

/** Bundles modules that our library does not export, beside what it does: `ort` needs `forward/decoder`. @param modules their paths below src */
export function bundleModules(...modules) {
  const entries = [...modules, 'node'].map(name => `src/${name}.ts`)
  const texts = ['--loader.py', 'text', '--loader.html', 'text']
  const flags = ['--no-config', '--no-dts', '--format', 'esm', '--platform', 'node', ...texts]
  execFileSync('npx', ['tsdown', ...flags, '--out-dir', bundle, ...entries], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
}

/** One that was bundled. */
export const bundled = name => import(pathToFileURL(join(bundle, `${name}.mjs`)).href)

const ids = Array.from({ length: PROMPT }, (_, i) => ((i * 7919 + 13) % 40000) + 100)
const best = logits => logits.reduce((top, value, i) => (value > logits[top] ? i : top), 0)

/** Each opens a model and gives a function that times one turn. */
const RUNTIMES = {
  async ort(path, threads) {
    const { Decoder } = await bundled('forward/decoder')
    const { openModel, openEngine } = await bundled('node')
    const model = await openModel(path)
    let decoder
    return async decode => {
      decoder ??= await Decoder.open(model, openEngine({ threads }), 1, PROMPT + decode)
      decoder.reset()
      const started = performance.now()
      const token = best(await decoder.step([Int32Array.from(ids)]))
      const prefilled = performance.now()
      for (let i = 0, next = token; i < decode; i++) next = best(await decoder.step([Int32Array.of(next)]))
      return { started, prefilled, ended: performance.now(), token }
    }
  },

  async llama(modelPath, threads) {
    const { getLlama } = await import(nodeLlamaCpp())
    let cache
    const logger = (_, text) => (cache ??= Number(/KV.*size *= *([\d.]+) MiB/.exec(text)?.[1]) * 2 ** 20 || undefined)
    const llama = await getLlama({ build: 'never', gpu: false, maxThreads: threads, logLevel: 'debug', logger })
    const empty = process.memoryUsage.rss()
    const model = await llama.loadModel({ modelPath })
    let sequence
    return async decode => {
      const contextSize = PROMPT + decode + 8
      sequence ??= (await model.createContext({ contextSize, batchSize: PROMPT, threads })).getSequence()
      await sequence.clearHistory()
      const started = performance.now()
      await sequence.evaluateWithoutGeneratingNewTokens(ids.slice(0, -1))
      const tokens = sequence.evaluate([ids.at(-1)], { temperature: 0, yieldEogToken: true })
      const { value: token } = await tokens.next()
      const prefilled = performance.now()
      for (let i = 0; i < decode; i++) await tokens.next()
      const ended = performance.now()
      await tokens.return()
      const positions = sequence.context.contextSize
      return { started, prefilled, ended, token, memory: process.memoryUsage.rss() - empty, cache: cache / positions }
    }
  },

  async js(folder, threads, dtype) {
    const { AutoModelForCausalLM, Tensor } = await import('@huggingface/transformers')
    const empty = process.memoryUsage.rss()
    const session_options = { intraOpNumThreads: threads }
    const model = await AutoModelForCausalLM.from_pretrained(folder, { dtype, device: 'cpu', session_options })
    const int64 = numbers => new Tensor('int64', BigInt64Array.from(numbers, BigInt), [1, numbers.length])
    const inputs = { input_ids: int64(ids), attention_mask: int64(ids.map(() => 1)) }
    return async decode => {
      const at = []
      const streamer = { put: () => at.push(performance.now()), end() {} } // first the prompt, then each token
      const length = { max_new_tokens: decode + 1, min_new_tokens: decode + 1, do_sample: false }
      const started = performance.now()
      const { sequences, past_key_values: past } = await model.generate({
        ...inputs,
        ...length,
        streamer,
        return_dict_in_generate: true,
      })
      const tensors = Object.values(past).filter(one => one?.dims)
      const bytes = tensors.reduce((sum, { type, size }) => sum + size * (type === 'float16' ? 2 : 4), 0)
      const cache = bytes / tensors[0].dims[2]
      const memory = process.resourceUsage().maxRSS * 1024 - empty // the peak: it reads the file once more, some time later
      await past.dispose()
      return { started, prefilled: at[1], ended: at.at(-1), token: Number(sequences.data[PROMPT]), memory, cache }
    }
  },
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [runtime, path, threads, dtype] = process.argv.slice(2)
  const turn = await RUNTIMES[runtime](path, Number(threads), dtype)
  for await (const line of createInterface({ input: process.stdin })) {
    const { started, prefilled, ended, ...rest } = await turn(Number(line))
    console.log(JSON.stringify({ prefill: (prefilled - started) / 1000, decode: (ended - prefilled) / 1000, ...rest }))
  }
  process.exit(0)
}
