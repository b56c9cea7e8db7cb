// Speed of the pruned model where users run it: prefill of 512 tokens and decode of 64, dense beside pruned, in PyTorch (transformers,
// float32), ONNX Runtime (our Decoder, float32) and llama.cpp (node-llama-cpp, weights F16 or --gguf TYPE).
// usage: node bench/speed.mjs PYTHON [--runs 5] [--threads n] [--widths 896,900,…] [--runtimes torch,ort,llama]   (after npm run build)
//   PYTHON has torch, transformers. Without --widths: SmolLM2-135M dense and `fasp prune -s 0.3`. With: its FFNs at those widths.
// Each model runs in a process of its own; they take turns, so that load on the machine hits all alike. Prints a Markdown table of
// medians [lowest–highest]; the speed-up is the median of the ratios of neighbouring runs.
import { execFileSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { availableParallelism, cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { nodeLlamaCpp } from '../scripts/llama-cpp.mjs'
import { bundleModules, cache, fasp, PROMPT, pruneSmolLM2, spread, takeTurns } from './runtimes.mjs'

const DECODE = 64

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string', default: '5' },
    threads: { type: 'string', default: String(availableParallelism()) },
    widths: { type: 'string' },
    runtimes: { type: 'string', default: 'torch,ort,llama' },
    gguf: { type: 'string', default: 'f16' }, // type of the weights in llama.cpp
  },
})
const threads = Number(options.threads)
await main(positionals[0])

async function main(python) {
  if (!python) throw new Error('usage: node bench/speed.mjs PYTHON')
  const runtimes = options.runtimes.split(',')
  const models = options.widths
    ? narrowModels(python, options.widths.split(','))
    : [makeModel('dense', 0, 1), makeModel('pruned', 0.3, 16)]
  if (runtimes.includes('llama')) nodeLlamaCpp() // installs it
  if (runtimes.includes('ort')) bundleModules('forward/decoder')
  console.log(`${cpus()[0].model}, ${threads} threads; load before: ${loadavg()[0].toFixed(1)}\n`)
  console.log('| runtime | model | prefill, tokens/s | × | decode, tokens/s | × |\n|---|---|---:|---:|---:|---:|')
  for (const runtime of runtimes) {
    const processes = models.map(({ folder }) => ({ runtime, model: fileFor(runtime, folder), dtype: 'float32' }))
    const runs = await takeTurns(processes, { runs: Number(options.runs), decode: DECODE, threads, python })
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

/** In the stock layout. */
function makeModel(name, sparsity, windows) {
  const folder = join(cache, name)
  pruneSmolLM2(folder, sparsity, '--method', 'plain', '--windows', String(windows))
  return { name, folder }
}

function narrowModels(python, widths) {
  const dense = makeModel('dense', 0, 1)
  return [
    dense,
    ...widths.map(width => {
      const folder = join(cache, `width-${width}`)
      execFileSync(
        python,
        [fileURLToPath(new URL('speed.py', import.meta.url)), 'narrow', dense.folder, folder, width],
        { stdio: 'inherit' },
      )
      return { ...dense, name: width, folder }
    }),
  ]
}

/** What a runtime loads. */
function fileFor(runtime, folder) {
  if (runtime !== 'llama') return folder
  const file = `${folder}.${options.gguf}.gguf`
  rmSync(file, { force: true })
  fasp('export', folder, '--to', `gguf:${options.gguf}`, '-o', file)
  return file
}
