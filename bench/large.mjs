// A LLaMA-7B of random weights in three shards (13.5 GB) is pruned whole, then again, killed twice and resumed: the same bytes? What it takes is
// printed: time of each layer, peak memory, what went through the disk. usage: node bench/large.mjs FOLDER [OPTIONS OF fasp prune…]
// (after npm run build, on Linux; FOLDER takes 13.5 GB for the model, which stays there, and up to 13 GB for an output and its scratch)
import { spawn } from 'node:child_process'
import { createHash, randomFillSync } from 'node:crypto'
import {
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { header, llama } from './llama.mjs'

const [folder, ...given] = process.argv.slice(2)
if (!folder) throw new Error('usage: node bench/large.mjs FOLDER [OPTIONS OF fasp prune…]')
const root = fileURLToPath(new URL('..', import.meta.url))
const text = join(folder, 'text.txt') // any: the weights are random
const options =
  given.length > 0 ? given : ['-s', '0.3', '--method', 'plain', '--windows', '4', '--seq-len', '512', '--held-out', '0']
const SHARDS = 3
const { config, layers, shapes } = llama('7b')

const model = join(folder, 'llama-7b')
if (!existsSync(model)) makeModel()
cpSync(join(root, 'bench/log.md'), text)

const whole = await run('whole', [])
const expected = hashes(whole.output)
rmSync(whole.output, { recursive: true })
await run('killed', ['--save-every', '0'], layers / 4)
await run('killed', ['--save-every', '0', '--resume'], layers / 2)
const resumed = await run('killed', ['--save-every', '0', '--resume'])
const found = hashes(resumed.output)
for (const name of new Set([...Object.keys(expected), ...Object.keys(found)]))
  console.log(
    `${name}: ${expected[name] === found[name] ? 'the same' : 'ANOTHER'} after two kills, ${expected[name]?.slice(0, 16)}`,
  )
rmSync(resumed.output, { recursive: true })

/** Weights of a normal distribution of deviation 0.02, from a table that each tensor enters at a place of its own; norms are 1. */
function makeModel() {
  const part = `${model}.part`
  rmSync(part, { recursive: true, force: true })
  mkdirSync(part)
  const table = new Uint16Array(2 ** 27)
  const uniform = new Uint32Array(2 ** 14)
  for (let at = 0; at < table.length; at++) {
    const i = (2 * at) % uniform.length
    if (i === 0) randomFillSync(uniform)
    const [u, v] = [(uniform[i] + 1) / 2 ** 32, uniform[i + 1] / 2 ** 32]
    table[at] = bfloat16(0.02 * Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v))
  }
  const size = shape => shape.reduce((n, k) => n * k, 1)
  const left = Object.entries(shapes)
  const total = 2 * left.reduce((sum, [, shape]) => sum + size(shape), 0)
  const weightMap = {}
  for (let shard = 1; shard <= SHARDS; shard++) {
    const these = []
    for (
      let held = 0;
      left.length > 0 && (shard === SHARDS || held < total / SHARDS);
      held += 2 * size(these.at(-1)[1])
    )
      these.push(left.shift())
    const file = `model-0000${shard}-of-0000${SHARDS}.safetensors`
    const fd = openSync(join(part, file), 'w')
    writeSync(fd, header(Object.fromEntries(these)).bytes)
    for (const [name, shape] of these) {
      weightMap[name] = file
      const from = Math.floor(Math.random() * (table.length - size(shape)))
      const norm = shape.length === 1
      writeSync(fd, norm ? new Uint16Array(size(shape)).fill(bfloat16(1)) : table.subarray(from, from + size(shape)))
    }
    closeSync(fd)
  }
  const index = { metadata: { total_size: total }, weight_map: weightMap }
  writeFileSync(join(part, 'config.json'), JSON.stringify(config))
  writeFileSync(join(part, 'model.safetensors.index.json'), JSON.stringify(index))
  for (const name of ['tokenizer.json', 'tokenizer_config.json'])
    cpSync(join(root, 'assets/tiny-llama', name), join(part, name))
  renameSync(part, model)
}

/** @param killAt SIGKILL as soon as so many layers are done */
async function run(name, more, killAt = Number.POSITIVE_INFINITY) {
  const output = join(folder, name)
  const args = ['prune', model, '-o', output, '--calibration', text, '--memory', '6', ...options, ...more]
  console.log(`fasp ${args.join(' ')}`)
  const [begun, times] = [performance.now(), []]
  const child = spawn(process.execPath, [join(root, 'dist/cli.js'), ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
  let [peak, io, stderr] = [0, {}, '']
  const proc = file => readFileSync(`/proc/${child.pid}/${file}`, 'utf8')
  const look = setInterval(() => {
    try {
      peak = Math.max(peak, Number(/VmHWM:\s+(\d+)/.exec(proc('status'))?.[1] ?? 0))
      io = Object.fromEntries(
        proc('io')
          .trim()
          .split('\n')
          .map(line => line.split(': ')),
      )
    } catch {} // it has ended
  }, 200)
  child.stderr.setEncoding('utf8').on('data', chunk => {
    stderr += chunk
    for (const [, layer] of chunk.matchAll(/prune: layer (\d+) of/g)) {
      times.push([Number(layer), (performance.now() - begun) / 1000])
      if (Number(layer) >= killAt) child.kill('SIGKILL')
    }
  })
  const code = await new Promise(resolve => child.on('close', (code, signal) => resolve(code ?? signal)))
  clearInterval(look)
  const seconds = (performance.now() - begun) / 1000
  const gb = bytes => (Number(bytes ?? 0) / 1e9).toFixed(1)
  const layer = times.slice(1).map(([at, time], i) => ((time - times[i][1]) / (at - times[i][0])).toFixed(1))
  console.log(
    `  ${code}, ${seconds.toFixed(0)} s, peak memory ${(peak * 1024e-9).toFixed(2)} GB, read ${gb(io.rchar)} GB, written ${gb(io.wchar)} GB`,
  )
  console.log(`  seconds a layer: ${layer.join(' ')}`)
  if (code !== 0 && code !== 'SIGKILL') throw new Error(stderr)
  return { output }
}

/** SHA-256 of all files. */
function hashes(output) {
  const room = Buffer.alloc(1 << 24)
  return Object.fromEntries(
    readdirSync(output)
      .sort()
      .map(name => {
        const [hash, fd] = [createHash('sha256'), openSync(join(output, name))]
        for (let n = readSync(fd, room); n > 0; n = readSync(fd, room)) hash.update(room.subarray(0, n))
        closeSync(fd)
        return [name, hash.digest('hex')]
      }),
  )
}

function bfloat16(x) {
  const bits = new Uint32Array(Float32Array.of(x).buffer)[0]
  return (bits + 0x7fff + ((bits >> 16) & 1)) >>> 16
}
