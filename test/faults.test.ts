// Files that fail under a run, and memory that is limited: a clear error or none, nothing half-written, and `--resume` goes on to the same bytes.
// Full and read-only disks: test/machine. FASP_FAULTS=100 lets that many calls fail.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type ProgressEvent, type PrunePathOptions, prune } from '../src/node.ts'
import { fasp, faspProcess, put, QUICK, type Run, run, snapshot, TINY_LLAMA, workplaces } from './fasp.ts'
import { withAddressSpace } from './limits.ts'
import { someOf } from './nightly.ts'
import { tinyOf2Layers } from './tiny.ts'

const workplace = workplaces()
const TWO_LAYERS = tinyOf2Layers()
const fixture = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const contents = async (output: string) => (await snapshot(output)).map(line => line.slice(output.length))
const left = (folder: string) => readdirSync(folder).filter(name => name !== 'text.txt')
/** In [0, 1), the same in each run. */
const random = (() => {
  let state = 7
  return () => (state = (state * 48271) % 0x7fffffff) / 0x7fffffff
})()

/** What faults/inject.js makes of the calls of one kind in the worker, or of the one at a place among them. */
interface Fault {
  readonly kind?: string
  readonly at?: number
  readonly how?: 'EIO' | 'ENOSPC' | 'zero' | 'short'
}

/** All that a run reads and writes: activations on the disk, a state after each half-block, an export. */
const ARGS = [
  'prune',
  TWO_LAYERS,
  '-s',
  '0.3',
  '--method',
  'plain',
  '--threads',
  '1',
  ...QUICK,
  '--memory',
  '0',
  '--save-every',
  '0',
  '--to',
  'gguf',
  '-o',
  'out',
  '-q',
]
const LOG = 'calls.log'

/** @returns the calls, too: `<kind> <path>`, and which of them the fault hit */
async function faulty(folder: string, fault: Fault, args: readonly string[] = ARGS) {
  const log = join(folder, LOG)
  const NODE_OPTIONS = `--import=${fixture('faults/inject.js')}`
  const ended = await faspProcess(args, {
    folder,
    env: { NODE_OPTIONS, FASP_FAULT: JSON.stringify(fault), FASP_FAULT_LOG: log },
  })
  const calls = readFileSync(log, 'utf8').trimEnd().split('\n')
  rmSync(log)
  return {
    ...ended,
    calls: calls.map(line => line.split(' ')),
    hit: calls.find(line => line.endsWith(' !'))?.split(' ')[1],
  }
}

/** One line that names the file, or what was to be done to the output. */
function expectClear({ code, stderr }: Run, hit: string): void {
  expect(code, stderr).toBe(1)
  const [message, ...more] = stderr.split('\n').filter(line => line.startsWith('fasp: '))
  expect(more.join('')).toMatch(/^(fasp: what is done is kept .* --resume goes on from there\.)?$/)
  expect(message).toMatch(new RegExp(`\\bout\\b|${basename(hit).replaceAll('.', '\\.')}`))
  expect(message).toMatch(/EIO|ended at byte|ENOSPC|the disk is full/)
  expect(stderr).not.toMatch(/bug in fasp|^\s+at /m)
}

const once = <T>(make: () => Promise<T>): (() => Promise<T>) => {
  let made: Promise<T> | undefined
  return () => (made ??= make())
}

const whole = once(async () => {
  const folder = await workplace()
  const { code, stderr, calls } = await faulty(folder, {})
  expect(code, stderr).toBe(0)
  return { files: await contents(join(folder, 'out')), calls }
})

/** With a fault, then with `--resume` and perhaps another, then without. */
async function expectResumable(fault: Fault, again?: Fault): Promise<void> {
  const { files } = await whole()
  const folder = await workplace()
  const first = await faulty(folder, fault)
  const place = JSON.stringify({ ...fault, hit: first.hit })
  expect(first.hit, place).toBeDefined()
  if (first.code !== 0) {
    expectClear(first, first.hit!)
    expect(left(folder).join(), place).toMatch(/^(\.out\.[\w-]+\.(partial|finished))?$/)
    const second = again && (await faulty(folder, again, [...ARGS, '--resume']))
    if (second?.hit && second.code !== 0) expectClear(second, second.hit)
    if (!existsSync(join(folder, 'out'))) await run(folder, ...ARGS, '--resume')
  }
  expect(await contents(join(folder, 'out')), place).toEqual(files)
  const leftovers = () => left(folder).filter(name => name.endsWith('.partial'))
  if (fault.kind === 'rm' && leftovers().length > 0)
    await run(folder, 'prune', TWO_LAYERS, '-s', '0.3', '--method', 'plain', ...QUICK, '-o', 'next')
  expect(leftovers(), place).toEqual([])
}

describe('files', () => {
  test.for<[Fault['kind'], string, string[]]>([
    ['read', 'a model, activations, a state and an export', ARGS],
    ['write', 'a model, activations, a state and an export', ARGS],
    [
      'read',
      'a .parquet',
      [
        'prune',
        TWO_LAYERS,
        '-s',
        '0.3',
        '--method',
        'plain',
        '--calibration',
        fixture('fixtures/text/documents-snappy.parquet'),
      ].concat(...['--windows', '1', '--seq-len', '8', '--held-out', '0', '-o', 'out', '-q']),
    ],
  ])('of which each %s gives less than was asked for: %s', async ([kind, , args]) => {
    const folder = await workplace()
    const { code, stderr } = await faulty(folder, { kind, how: 'short' }, args)
    expect(code, stderr).toBe(0)
    if (args !== ARGS) await run(folder, ...args, '-o', 'as-it-is')
    const files = args === ARGS ? (await whole()).files : await contents(join(folder, 'as-it-is'))
    expect(await contents(join(folder, 'out'))).toEqual(files)
  })
  const places: [string, Fault['how'], (kind: string, path: string) => boolean][] = [
    ['the end of a model that is hashed', 'zero', (kind, path) => kind === 'read' && path.endsWith('/config.json')],
    ['a model that is hashed', 'EIO', (kind, path) => kind === 'read' && path.endsWith('/config.json')],
    ['whether there is a model', 'EIO', (kind, path) => kind === 'stat' && path === TWO_LAYERS],
    ['the list of its files', 'EIO', (kind, path) => kind === 'readdir' && path === TWO_LAYERS],
    ['the activations', 'EIO', (kind, path) => kind === 'read' && basename(path).startsWith('.fasp.')],
    ['the flush of the folder', 'EIO', (kind, path) => kind === 'sync' && !/partial|undefined/.test(path)],
    ['what removes a scratch file', 'EIO', (kind, path) => kind === 'rm' && basename(path).startsWith('.fasp.')],
  ]
  const stands = ['the end of a model that is hashed', 'the activations', 'what removes a scratch file']
  test.for(someOf(places, ([place]) => stands.includes(place)))('%s: %s', async ([, how, is]) => {
    const { calls } = await whole()
    const places = calls.flatMap(([kind, path], i) => (is(kind, path) ? [i] : []))
    const [kind] = calls[places[0]]
    for (const place of new Set([places.at(-1)!, ...(kind === 'stat' ? places : [])]))
      await expectResumable({ kind, how, at: calls.slice(0, place).filter(([other]) => other === kind).length })
  })
  test('where another command looks for them: what the system says is no bug of ours', async () => {
    const folder = await workplace()
    const verify = ['verify', TWO_LAYERS, '--json']
    const { code, stdout, stderr } = await faulty(folder, { kind: 'readdir', at: 0, how: 'EIO' }, verify)
    expect(code).toBe(1)
    expect(stderr).toMatch(/^fasp: EIO: .*tiny-llama.*\. The system says so; run again when that is mended\.\n$/)
    expect(JSON.parse(stdout).error.code).toBe('SYSTEM')
  })
  test('at any call', { timeout: 3_600_000 }, async () => {
    const { calls } = await whole()
    const kinds = [...new Set(calls.map(([kind]) => kind))]
    const one = (kind = kinds[Math.floor(kinds.length * random())]): Fault => {
      const how =
        kind === 'read' && random() < 0.3 ? 'zero' : kind.startsWith('write') && random() < 0.3 ? 'ENOSPC' : 'EIO'
      return { kind, how, at: Math.floor(calls.filter(([other]) => other === kind).length * random()) }
    }
    for (let n = Number(process.env.FASP_FAULTS ?? 1); n > 0; n--) await expectResumable(one(), one('read'))
  })
})

describe('a shard, in mid-run,', () => {
  const sharded = (folder: string) => {
    const model = join(folder, 'model')
    mkdirSync(model)
    for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json'])
      writeFileSync(join(model, name), readFileSync(join(TINY_LLAMA, name)))
    const bytes = readFileSync(join(TINY_LLAMA, 'model.safetensors'))
    const start = 8 + Number(bytes.readBigUInt64LE())
    const { __metadata__, ...tensors } = JSON.parse(bytes.toString('utf8', 8, start))
    const weight_map: Record<string, string> = {}
    for (const [shard, isIn] of [
      ['a.safetensors', (name: string) => !/layers\.[345]/.test(name)],
      ['b.safetensors', (name: string) => /layers\.[345]/.test(name)],
    ] as const) {
      const names = Object.keys(tensors).filter(isIn)
      const parts = names.map(name => bytes.subarray(...tensors[name].data_offsets.map((at: number) => start + at)))
      let at = 0
      const header = Object.fromEntries(
        names.map((name, i) => [name, { ...tensors[name], data_offsets: [at, (at += parts[i].length)] }]),
      )
      const text = Buffer.from(JSON.stringify(header))
      const length = Buffer.alloc(8)
      length.writeBigUInt64LE(BigInt(text.length))
      writeFileSync(join(model, shard), Buffer.concat([length, text, ...parts]))
      for (const name of names) weight_map[name] = shard
    }
    writeFileSync(join(model, 'model.safetensors.index.json'), JSON.stringify({ weight_map }))
    return model
  }
  const change = (path: string) => {
    const bytes = readFileSync(path)
    return bytes.fill(1, Math.floor(bytes.length / 2))
  }
  /** The model and the text, whose paths are in outputs. */
  const source = once(async () => {
    const folder = await workplace()
    return { model: sharded(folder), text: join(folder, 'text.txt') }
  })
  const optionsOf = (folder: string, text: string): PrunePathOptions => ({
    ...{
      sparsity: 0.3,
      method: 'plain',
      windows: 4,
      seqLen: 32,
      calibration: [text],
      saveEvery: 0,
      engine: { threads: 1 },
    },
    output: join(folder, 'out'),
  })
  const undisturbed = once(async () => {
    const [folder, { model, text }] = [await workplace(), await source()]
    await prune(model, optionsOf(folder, text))
    return contents(join(folder, 'out'))
  })
  const ways: [string, (shard: string) => void, RegExp?][] = [
    ['vanishes: what is open stays', rmSync],
    [
      'gives way to another of its size: what is open stays',
      shard => {
        writeFileSync(`${shard}.new`, change(shard))
        renameSync(`${shard}.new`, shard)
      },
    ],
    [
      'is overwritten by another of its size',
      shard => writeFileSync(shard, change(shard)),
      /was changed while it was read/,
    ],
    ['is cut', shard => truncateSync(shard, 1000), /ended at byte \d+ while it was read|was changed while it was read/],
  ]
  const stands = ['gives way to another of its size: what is open stays', 'is overwritten by another of its size']
  test.for(someOf(ways, ([way]) => stands.includes(way)))('%s', async ([, act, says]) => {
    const [folder, { model, text }] = [await workplace(), await source()]
    const files = await undisturbed()
    const shard = join(model, 'b.safetensors')
    const good = readFileSync(shard)
    onTestFinished(() => put(model, { 'b.safetensors': good }))
    const options = optionsOf(folder, text)
    let done = false
    const onEvent = (event: ProgressEvent) => {
      if (done || event.type !== 'progress' || event.done !== 1) return
      done = true
      act(shard)
    }
    const first = prune(model, { ...options, onEvent })
    if (says) {
      await expect(first).rejects.toThrow(says)
      await expect(first).rejects.toMatchObject({ code: 'FORMAT', file: shard })
      expect(existsSync(options.output as string)).toBe(false)
      await put(model, { 'b.safetensors': good })
      await prune(model, { ...options, resume: true })
    } else await first
    expect(done).toBe(true)
    expect(await contents(join(folder, 'out'))).toEqual(files)
  })
})

describe('memory', () => {
  const threads = someOf(['1', '2', '8'], one => one === '2')
  /** Too few, and enough; what is between them may end in either way. */
  const sizes = someOf([1.5, 1.8, 2.2, 2.6, 3.4, 8], (_, i) => i === 0 || i === 5)
  test.skipIf(process.platform !== 'linux').for(threads)('ulimit -v, --threads %s', async threads => {
    const folder = await workplace()
    const ended: (number | null)[] = []
    for (const gigabytes of sizes) {
      const args = [
        'prune',
        TWO_LAYERS,
        '-s',
        '0.3',
        '--method',
        'plain',
        ...QUICK,
        '--threads',
        threads,
        '-q',
        '-o',
        `out${gigabytes}`,
      ]
      const before = await snapshot(folder)
      const { code, stderr } = await fasp(args, { folder, wrap: withAddressSpace(gigabytes) })
      ended.push(code)
      if (code === 0) continue
      expect(code, stderr).toBe(1)
      expect(stderr).toMatch(/^fasp: .*address space.*ulimit -v.*\n$/)
      expect(await snapshot(folder)).toEqual(before)
    }
    expect([ended[0], ended.at(-1)]).toEqual([1, 0])
  })
})
