// `--resume`: a run that was stopped, at whatever moment and however, goes on to the same bytes.
// FASP_KILLS=100 kills that many runs twice; with FASP_KILLED_MODEL=<model> one of that model as often, too.
import type { ChildProcess } from 'node:child_process'
import { cpSync, existsSync, readdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import {
  type ExportRequest,
  exportModel,
  type ProgressEvent,
  type PrunePathOptions,
  plain,
  prune,
} from '../src/node.ts'
import { familyFolder } from './families.ts'
import { fasp, INTERRUPTED, QUICK, refused, run, snapshot, TEXT, TINY_LLAMA, workplaces } from './fasp.ts'
import { NIGHTLY, nightly, someOf } from './nightly.ts'
import { withModel } from './opened.ts'
import { asWindows, TINY_OPT, tinyOf2Layers } from './tiny.ts'

const workplace = workplaces()
const fixture = (path: string) => fileURLToPath(new URL(`fixtures/${path}`, import.meta.url))
const contents = async (output: string) =>
  output.endsWith('.gguf') ? readFileSync(output) : (await snapshot(output)).map(line => line.slice(output.length))
const states = (folder: string) => readdirSync(folder).filter(name => name.endsWith('.partial'))
/** Milliseconds of tests that wait for the disk some hundred times. */
const SYNCED = 240_000
/** In [0, 1), the same in each run. */
const random = (() => {
  let state = 1
  return () => (state = (state * 48271) % 0x7fffffff) / 0x7fffffff
})()

class Stopped extends Error {}
type Stops = { readonly onEvent: (event: ProgressEvent) => void; readonly saveEvery: number }

/** Runs until `at` events have come. @returns how many there were, or undefined where it was stopped */
const stopped = (model: string, options: PrunePathOptions, at: number) =>
  stoppedAt(at, more => prune(model, { ...options, ...more }))

/** @param seen what has come */
async function stoppedAt(
  at: number,
  run: (more: Stops) => Promise<unknown>,
  seen: ProgressEvent[] = [],
): Promise<number | undefined> {
  const onEvent = (event: ProgressEvent) => {
    if (seen.push(event) > at) throw new Stopped()
  }
  try {
    await run({ onEvent, saveEvery: 0 })
    return seen.length
  } catch (error) {
    if (error instanceof Stopped) return undefined
    throw error
  }
}

/** A kind of run is stopped so often, at moments of its own. */
const TIMES = NIGHTLY ? 3 : 1
const TWO_LAYERS = tinyOf2Layers()

describe('stopped between two half-blocks, and gone on', () => {
  const quick = { windows: 4, seqLen: 32, sparsity: 0.3, engine: { threads: 1 } } as const
  const kinds: [string, string, Partial<PrunePathOptions>][] = [
    ['plain, activations on the disk', TWO_LAYERS, { method: 'plain', memory: 0 }],
    ['stock, on text that the model writes', TINY_LLAMA, { calibration: undefined }],
    [
      'best, with exports and statistics',
      TWO_LAYERS,
      { method: 'best', to: [{ to: 'gguf', dtype: 'Q8_0' }], keepStatistics: true },
    ],
    ['best, with another kind of layers', TINY_OPT, { method: 'best' }],
    ['a .gguf file with a smaller vocabulary', TINY_LLAMA, { output: 'out.gguf', vocabulary: { keep: ['text.txt'] } }],
    ['flap', TINY_LLAMA, { method: 'flap' }],
    ['flap, biases that the family has no fields for', 'qwen3', { method: 'flap' }],
    ['shortgpt, which removes layers', TINY_LLAMA, { method: 'shortgpt' }],
    ['a bound on the loss', TWO_LAYERS, { sparsity: undefined, maxLoss: 0.2, heldOut: 4 }],
    ['experts', 'mixtral', { method: 'stock:scope=experts' }],
    ['neurons of experts', 'qwen3_moe', {}],
    ['halves beside each other, activations on the disk', 'gpt_neox', { method: 'best', memory: 0 }],
    ['norms after', fixture('trained/tiny-gemma3'), {}],
  ]
  const stands = [
    'plain, activations on the disk',
    'best, with exports and statistics',
    'a bound on the loss',
    'neurons of experts',
  ]
  test.for(someOf(kinds, ([kind]) => stands.includes(kind)))('%s', { timeout: SYNCED }, async ([, name, given]) => {
    const folder = await workplace()
    const model = name.includes('/') ? name : join(folder, 'model')
    if (model !== name) await familyFolder(name, model)
    const ids = Array.from({ length: 4 }, () => Array.from({ length: 32 }, () => Math.floor(64 * random())))
    const text = join(folder, 'text.txt')
    const { output = 'out', vocabulary, ...rest } = given
    const calibration = model === name ? [text] : asWindows(ids)
    const options = (start: string) => ({
      ...{ ...quick, calibration, ...rest, vocabulary: vocabulary && { keep: [text] } },
      output: join(folder, start + output),
    })
    const whole = options('')
    const events = (await stopped(model, whole, Number.POSITIVE_INFINITY))!
    for (let i = 0; i < TIMES; i++) {
      const one = options(`${i}`)
      // Twice: what has gone on goes on.
      const at = Math.floor(events * random())
      expect(await stopped(model, one, at)).toBeUndefined()
      await stopped(model, { ...one, resume: true }, Math.floor((events - at) * random()))
      if (!existsSync(one.output)) await prune(model, { ...one, resume: true })
      expect(await contents(one.output)).toEqual(await contents(whole.output))
      expect(states(folder)).toEqual([])
    }
  })
})

test('what is first saved when layers have gone by is there to go on from', async () => {
  const folder = await workplace()
  const [text, output] = [join(folder, 'text.txt'), join(folder, 'out')]
  const options = {
    windows: 4,
    seqLen: 32,
    sparsity: 0.3,
    method: 'plain',
    calibration: [text],
    output,
    engine: { threads: 1 },
  } as const
  let layers = 0
  const onEvent = async ({ type }: ProgressEvent) => {
    if (type !== 'progress') return
    if (++layers === 2) await setTimeout(1100)
    if (layers === 4) throw new Stopped()
  }
  await expect(prune(TINY_LLAMA, { ...options, saveEvery: 1, onEvent })).rejects.toThrow(Stopped)
  const seen: ProgressEvent[] = []
  await prune(TINY_LLAMA, { ...options, resume: true, onEvent: event => void seen.push(event) })
  const told = seen.flatMap(event => (event.type === 'notice' ? event.message : []))
  expect(told).toContainEqual(expect.stringMatching(/^Goes on after (attention|ffn) \d/))
})

describe('a run stopped in what follows pruning, and gone on', () => {
  const q4 = [{ to: 'gguf', dtype: 'Q4_K_M' }] as const
  const kinds: [string, string, Partial<PrunePathOptions> & { output?: string }][] = [
    ['two exports', TWO_LAYERS, { to: [{ to: 'gguf' }, { to: 'onnx', dtype: 'Q8' }], method: 'best', heldOut: 2 }],
    ['one that is rounded by statistics, activations on the disk', TWO_LAYERS, { to: q4, memory: 0 }],
    ['a .gguf file', TWO_LAYERS, { output: 'out.gguf', dtype: 'Q8_0' }],
    ['another kind of layers', TINY_OPT, { to: [{ to: 'huggingface', dtype: 'F32' }, { to: 'padded' }] }],
  ]
  const stands = 'one that is rounded by statistics, activations on the disk'
  test.for(someOf(kinds, ([kind]) => kind === stands))(
    '%s',
    { timeout: SYNCED },
    async ([, model, { output = 'out', ...given }]) => {
      const folder = await workplace({ 'short.txt': TEXT.slice(0, 200) })
      const [text, short] = ['text.txt', 'short.txt'].map(name => join(folder, name))
      const quick = {
        ...{ windows: 4, seqLen: 32, sparsity: 0.3, calibration: [text, short], text: [text], textWindows: 3 },
        engine: { threads: 1 },
      }
      const options = (into: string) => ({ ...quick, ...given, output: join(folder, into, output) }) // names are in cards
      const pruned = (into: string, at: number, resume = false) => {
        const seen: ProgressEvent[] = []
        return stoppedAt(at, more => prune(model, { ...options(into), ...more, resume }), seen).then(() => seen)
      }
      const whole = await pruned('whole', Number.POSITIVE_INFINITY)
      const last = whole.findLastIndex(one => one.type === 'phase' && one.phase === 'prune')
      const from = last + 2 + whole.slice(last).findIndex(one => one.type === 'phase' && one.phase !== 'prune')
      for (let i = 0; i < TIMES; i++) {
        const one = options(`${i}`)
        const at = from + Math.floor((whole.length - from) * random())
        expect(await pruned(`${i}`, at)).toHaveLength(at + 1)
        const again = await pruned(`${i}`, Math.floor((whole.length - at) * random()), true)
        if (!existsSync(one.output)) again.push(...(await pruned(`${i}`, Number.POSITIVE_INFINITY, true)))
        expect(again.flatMap(event => (event.type === 'notice' ? event.message : []))).toContainEqual(
          expect.stringMatching(/^Goes on after (gguf|onnx|huggingface|padded|losses|perplexity)/),
        )
        expect(await contents(one.output)).toEqual(await contents(options('whole').output))
        expect(states(join(folder, `${i}`))).toEqual([])
      }
    },
  )
})

describe('an export stopped between two tensors, and gone on', () => {
  const kinds: [string, string, string, readonly ExportRequest[]][] = [
    ['a .gguf file', TWO_LAYERS, 'out.gguf', [{ to: 'gguf', dtype: 'Q4_K_M' }]],
    ['a folder in another type', TWO_LAYERS, 'out', [{ to: 'huggingface', dtype: 'F32' }]],
    ['two files of ONNX', TINY_OPT, 'out', [{ to: 'onnx' }]],
    ['all that there are', TWO_LAYERS, 'out', [{ to: 'onnx' }, { to: 'gguf', dtype: 'Q8_0' }, { to: 'padded' }]],
    ['experts', 'qwen3_moe', 'out', [{ to: 'huggingface', dtype: 'BF16' }]],
  ]
  const stands = ['all that there are', 'experts']
  test.for(someOf(kinds, ([kind]) => stands.includes(kind)))(
    '%s',
    { timeout: SYNCED },
    async ([, name, output, to]) => {
      const folder = await workplace()
      const model = name.includes('/') ? name : join(folder, 'model')
      if (model !== name) await familyFolder(name, model)
      const at = (start: string) => ({ output: join(folder, start + output), to })
      const exported = (start: string, until: number, resume: boolean) =>
        stoppedAt(until, more => exportModel(model, { ...at(start), ...more, resume }))
      const events = (await exported('', Number.POSITIVE_INFINITY, false))!
      for (let i = 0; i < TIMES; i++) {
        const until = Math.floor(events * random())
        expect(await exported(`${i}`, until, false)).toBeUndefined()
        await exported(`${i}`, Math.floor((events - until) * random()), true)
        const one = at(`${i}`)
        if (!existsSync(one.output)) await exportModel(model, { ...one, resume: true })
        expect(await contents(one.output)).toEqual(await contents(at('').output))
        expect(states(folder)).toEqual([])
      }
    },
  )
  test('of another type, or with other bytes in its file, is refused, and stays', async () => {
    const folder = await workplace()
    const options = { output: join(folder, 'out.gguf'), to: [{ to: 'gguf', dtype: 'F16' }] as const }
    expect(await stoppedAt(30, more => exportModel(TINY_LLAMA, { ...options, ...more }))).toBeUndefined()
    const again = (dtype: string) => exportModel(TINY_LLAMA, { ...options, to: [{ to: 'gguf', dtype }], resume: true })
    const damage = () => {
      const partial = join(folder, states(folder)[0])
      flip(join(partial, 'model.gguf'), firstPart(join(partial, 'state')))
    }
    await expect(again('Q8_0')).rejects.toThrow('export 1 dtype is "Q8_0", there "F16"')
    damage()
    await expect(again('F16')).rejects.toThrow('is not what was written')
    damage()
    await again('F16')
    expect(states(folder)).toEqual([])
  })
  test('of an open model has no state', async () => {
    const options = { output: join(await workplace(), 'out.gguf'), resume: true }
    await withModel(TINY_LLAMA, model =>
      expect(exportModel(model, options)).rejects.toThrow('only an export of a path'),
    )
  })
})

/** A command, and how long it takes; its output is what others must come to. */
async function timed(folder: string, args: readonly string[], whole: string) {
  const started = performance.now()
  await run(folder, ...args, '-o', whole)
  return { args, whole: join(folder, whole), took: performance.now() - started }
}

/** Kills it, then what goes on with it, so many times, and lets that be gone on with. @returns how many were still running */
async function killed(
  folder: string,
  { args, whole, took }: Awaited<ReturnType<typeof timed>>,
  output: string,
  n = NIGHTLY ? 2 : 1,
) {
  const [again, path] = [[...args, '-o', output, '--save-every', '0'], join(folder, output)]
  let count = 0
  for (let i = 0; i <= n; i++) {
    const how = i === 0 ? [] : ['--resume']
    const moment = i < n ? setTimeout(((took * 2) / n) * random()) : undefined
    const onStart = (child: ChildProcess) => void moment?.then(() => child.kill('SIGKILL'))
    const { code, stderr } = await fasp([...again, ...how], { folder, onStart })
    if (code === null) count++
    else expect(code, stderr).toBe(0)
    if (code === 0) expect(states(join(path, '..'))).toEqual([])
    if (existsSync(path)) break
  }
  expect(await contents(path)).toEqual(await contents(whole))
  return count
}

describe('killed', () => {
  const kills = Number(process.env.FASP_KILLS ?? 1)
  const told = (what: string, count: number) => {
    if (process.env.FASP_KILLS) console.info(`${what}: ${kills} runs, ${count} times killed`)
  }
  test('an export, at any moment', { timeout: 3_600_000 }, async () => {
    const folder = await workplace()
    const one = await timed(folder, ['export', TWO_LAYERS, '--to', 'gguf:q4_k_m', '--to', 'onnx:q8'], 'whole')
    let count = 0
    for (let i = 0; i < kills; i++) count += await killed(folder, one, `out${i}`)
    told('export', count)
  })

  test('healing, at any moment', { timeout: 3_600_000 }, async () => {
    const folder = await workplace()
    const prune = ['prune', TWO_LAYERS, '-s', '0.3', '--method', 'magnitude', ...QUICK, '--threads', '1']
    await run(folder, ...prune, '-o', 'pruned')
    const heal = [
      'heal',
      'pruned',
      '--dense',
      TWO_LAYERS,
      '--calibration',
      'text.txt',
      '--seq-len',
      '32',
      '--threads',
      '1',
    ]
    const steps = ['--tokens', NIGHTLY ? '2048' : '768', '--windows', '48', '--batch', '4', '--every', '3'] // 16, or 6
    const kinds = [
      [...heal, ...steps],
      [...heal, ...steps, '--train', 'lora'],
      [...prune, '--heal', '6144', '--to', 'gguf'],
    ]
    const whole = new Map<number, Awaited<ReturnType<typeof timed>>>()
    let count = 0
    for (let i = 0; i < kills; i++) {
      const kind = i % kinds.length
      const one = whole.get(kind) ?? (await timed(folder, kinds[kind], `whole${kind}/out`))
      whole.set(kind, one)
      count += await killed(folder, one, `${i}/out`)
    }
    told('heal', count)
  })

  const self = QUICK.slice(2)
  const others = ['paper', 'flap', 'shortgpt', 'wanda-sp', 'magnitude', 'random', 'osscar', 'sleb']
  /** In turns. */
  const runs = [
    [TWO_LAYERS, '--method', 'plain', ...QUICK, '--memory', '0', '--threads', '1'],
    [TINY_LLAMA, '--method', 'best', ...QUICK, '--to', 'gguf', '--to', 'onnx:q8'],
    ['mixture', ...self],
    [TINY_LLAMA, ...self, '--text', 'text.txt', '--text-windows', '4'],
    [TINY_LLAMA, '--method', 'stock', ...QUICK, '--to', 'gguf:q4_k_m'],
    [TINY_OPT, '--method', 'best', ...QUICK, '--memory', '0', '--to', 'onnx:q8'],
    ['mixture', '--method', 'reap', ...self],
    ...others.map(method => [TINY_LLAMA, '--method', method, ...QUICK]),
  ]
  test('at any moment', { timeout: 3_600_000 }, async () => {
    const folder = await workplace()
    await familyFolder('qwen3_moe', join(folder, 'mixture'))
    const whole = new Map<string, Awaited<ReturnType<typeof timed>>>()
    let count = 0
    for (let i = 0; i < kills; i++) {
      const args = ['prune', ...runs[i % runs.length], '-s', '0.3']
      const name = args.join(' ')
      const one = whole.get(name) ?? (await timed(folder, args, `whole${i}/out`)) // names of outputs are in cards
      whole.set(name, one)
      count += await killed(folder, one, `${i}/out`)
    }
    told('prune', count)
  })
  const model = process.env.FASP_KILLED_MODEL
  if (model)
    test('a larger model, again and again', { timeout: 3_600_000 }, async () => {
      const folder = await workplace()
      const args = ['prune', model!, '--method', 'best', ...QUICK, '-s', '0.3', '--to', 'gguf']
      const one = await timed(folder, args, '0/out')
      told('prune', await killed(folder, one, '1/out', kills))
    })
})

describe('a state', () => {
  const args = [
    'prune',
    TWO_LAYERS,
    '-s',
    '0.3',
    '--method',
    'plain',
    ...QUICK,
    '--threads',
    '1',
    '-o',
    'out',
    '--save-every',
    '0',
  ]
  /** Makes the run wait half way, a moment after it has saved rows, so that it is there to get the signal however late that comes. */
  const WAITS = `data:text/javascript,import promises from 'node:fs/promises'
    import { readFileSync } from 'node:fs'
    import { syncBuiltinESMExports } from 'node:module'
    import { setTimeout } from 'node:timers/promises'
    const { rename } = promises
    promises.rename = async (from, to) => {
      await rename(from, to)
      if (/START.*manifest.json$/.test(to) && readFileSync(to, 'utf8').includes('"rows"')) await setTimeout(1500)
    }
    syncBuiltinESMExports()`
  /** Runs until it has saved rows, and sends a signal. @param start of the output's name */
  const halfWay = (folder: string, args: readonly string[], signal: NodeJS.Signals = 'SIGKILL', start = 'out') => {
    const isHalfWay = (name: string) => name.startsWith(`.${start}`) && hasRows(join(folder, name, 'state'))
    const before = states(folder)
    const stop = async (child: ChildProcess) => {
      const isThere = () => states(folder).some(name => !before.includes(name) && isHalfWay(name))
      while (child.exitCode === null && !isThere()) await setTimeout(20)
      child.kill(signal)
    }
    const env = { NODE_OPTIONS: `--import=${encodeURI(WAITS.replace('START', start)).replaceAll('#', '%23')}` }
    return fasp(args, { folder, env, onStart: child => void stop(child) })
  }
  /** A folder in which a run got a signal half way. */
  const killed = async (signal: NodeJS.Signals = 'SIGKILL', start = 'out', more: readonly string[] = []) => {
    const folder = await workplace()
    const { code, stderr } = await halfWay(folder, [...args, ...more], signal, start)
    expect(states(folder)).toHaveLength(1)
    return { folder, state: join(folder, states(folder)[0], 'state'), code, stderr }
  }
  let first: ReturnType<typeof killed> | undefined
  /** Another folder, with all that is in that of a run which was killed. */
  const left = async () => {
    const { folder, state } = await (first ??= killed())
    const copy = await workplace()
    cpSync(folder, copy, { recursive: true })
    return { folder: copy, state: join(copy, state.slice(folder.length)) }
  }

  test('is mentioned by another run, which leaves it, and removed when the output is there', async () => {
    const { folder, state } = await left()
    const { stderr } = await run(folder, ...args, '-s', '0.2')
    expect(stderr).toContain('--resume goes on from there')
    expect(stderr).toContain('is removed: it held what an earlier run into out had done')
    expect(existsSync(state)).toBe(false)
  })
  test('of other options, threads, texts, another model or version is refused, and stays', async () => {
    const { folder, state } = await left()
    const again = [...args, '--resume']
    const says = ['sparsity is 0.2, there 0.3', 'dtype is "F16", there absent', 'engine threads is 3, there 1']
    await refused(folder, [...again, '-s', '0.2', '--dtype', 'f16', '--threads', '3'], { code: 2, says })
    const other = join(folder, 'tiny-llama')
    cpSync(TWO_LAYERS, other, { recursive: true })
    flip(join(other, 'model.safetensors'), 2 ** 19)
    await refused(folder, ['prune', other, ...again.slice(2)], { code: 2, says: ['run: model is "'] })
    writeFileSync(join(folder, 'text.txt'), TEXT.toUpperCase())
    await refused(folder, again, { code: 2, says: ['calibration 1 sha256 is'] })
    writeFileSync(join(folder, 'text.txt'), TEXT)
    edit(state, text => text.replace('"fasp":"', '"fasp":"0.0.'))
    await refused(folder, again, { code: 2, says: [': fasp is "', ', there "0.0.'] })
    expect(existsSync(state)).toBe(true)
  })
  test('of another CPU is gone on with, which is told', async () => {
    const { folder, state } = await left()
    edit(state, text => text.replace(/"cpu":"[^"]+"/, '"cpu":"Z80"'))
    const { stderr } = await run(folder, ...args, '--resume')
    expect(stderr).toMatch(/^Goes on after .*\ncpu is ".+", there "Z80"\. Last bits may be others/m)
  })
  test('that fits is found beside a newer one that does not; without --resume none is lost before the end', async () => {
    const { folder, state } = await left()
    await halfWay(folder, [...args, '-s', '0.2'])
    expect([existsSync(state), states(folder).length]).toEqual([true, 2])
    await refused(folder, [...args, '--resume', '-s', '0.25'], { code: 2, says: ['sparsity is 0.25, there 0.2.'] })
    const { stderr } = await run(folder, ...args, '--resume')
    expect(stderr).toContain('Goes on after')
    await run(folder, ...args, '-o', 'whole')
    expect(await contents(join(folder, 'out'))).toEqual(await contents(join(folder, 'whole')))
  })
  test('is taken by one of two runs that go on with it at the same moment, which ends well', async () => {
    const { folder } = await left()
    const both = await Promise.all([1, 2].map(() => fasp([...args, '--resume'], { folder })))
    const [first, second] = both.sort((a, b) => a.code! - b.code!)
    expect([first.code, first.stderr]).toEqual([0, expect.stringContaining('Goes on after')])
    expect([second.code, second.stderr]).toEqual([
      1,
      expect.stringMatching(/fasp: out (is being written by process \d+, in|exists already)/),
    ])
    await run(folder, ...args, '-o', 'whole')
    expect(await contents(join(folder, 'out'))).toEqual(await contents(join(folder, 'whole')))
    expect(states(folder)).toEqual([])
  })
  test.for<[string, (state: string) => void, string]>([
    ['a file that is too short', state => truncateSync(join(state, rowsOf(state)), 1000), 'ends early'],
    ['other rows', state => flip(join(state, rowsOf(state))), 'is not what was written'],
    ['another value of a step', state => flip(join(state, 'step-0.json')), 'is not what was written'],
    ['no JSON', state => flip(join(state, 'manifest.json'), 0), 'manifest.json'],
    ['other weights', flipWeight, 'is not what was written'],
    [
      'a file elsewhere',
      state => edit(state, text => text.replace(/"rows-[01]"/, '"../../text.txt"')),
      'is not in the form',
    ],
    [
      'a tensor that the output has not',
      state => edit(state, text => text.replace(/("weights":\{")/, '$1x')),
      'has no place',
    ],
    ['a link', state => symlinkSync('../text.txt', join(state, '../config.json')), 'is a link'],
    ['another version', state => edit(state, text => text.replace('"schema":2', '"schema":3')), 'schema is 3'],
  ])('with %s is refused, and stays', async ([, damage, says]) => {
    const { folder, state } = await left()
    damage(state)
    const { code, stderr } = await fasp([...args, '--resume'], { folder })
    expect(code).toBe(1)
    expect(stderr).toMatch(/^fasp: .*/m)
    expect(stderr).toContain(says)
    expect(states(folder)).toHaveLength(1)
    expect(existsSync(join(folder, 'out'))).toBe(false)
  })
  test('is kept after Ctrl-C, which says how to go on', async () => {
    const { folder, code, stderr } = await killed('SIGINT')
    expect(INTERRUPTED).toContain(code)
    expect(stderr).toContain(
      'what is done is kept in a hidden folder beside the output, and the same command with --resume goes on from there',
    )
    const { stderr: again } = await run(folder, ...args, '--resume', '--memory', '2')
    expect(again).toMatch(/Goes on after (attention|ffn|tables)/)
  })
  nightly('of one of several sizes: those that are there stay', async () => {
    const several = ['-s', '0.2,0.3']
    const { folder } = await killed('SIGKILL', 'out-0.3', several)
    const { stdout } = await run(folder, ...args, ...several, '--resume')
    expect(stdout).toContain('out-0.2 is there already.')
    for (const [size, output] of [
      ['0.2', 'one'],
      ['0.3', 'two'],
    ]) {
      await run(folder, ...args, '-s', size, '-o', output)
      expect(await contents(join(folder, `out-${size}`))).toEqual(await contents(join(folder, output)))
    }
    expect(states(folder)).toEqual([])
  })
  test('is not of a run with functions of a program', async () => {
    const folder = await workplace()
    const own = plain({ score: ({ width }) => new Float64Array(width).map((_, i) => i) })
    const options = { sparsity: 0.3, method: own, windows: 4, seqLen: 32, calibration: [join(folder, 'text.txt')] }
    const output = join(folder, 'out')
    expect(await stopped(TWO_LAYERS, { ...options, output }, 5)).toBeUndefined()
    expect(states(folder)).toEqual([])
    await expect(prune(TWO_LAYERS, { ...options, output, resume: true })).rejects.toThrow('functions of yours')
  })
  test('is asked for where there is none', async () => {
    const folder = await workplace()
    const { stderr } = await run(folder, ...args, '--resume')
    expect(stderr).toContain('nothing to resume from')
  })
})

const hasRows = (state: string) =>
  existsSync(join(state, 'manifest.json')) && readFileSync(join(state, 'manifest.json'), 'utf8').includes('"rows"')
const rowsOf = (state: string) => JSON.parse(readFileSync(join(state, 'manifest.json'), 'utf8')).rows.file
const edit = (state: string, change: (text: string) => string) => {
  const path = join(state, 'manifest.json')
  writeFileSync(path, change(readFileSync(path, 'utf8')))
}
/** Where the first of the tensors lies that the state of an export names: what is before it is written again. */
function firstPart(state: string): number {
  const { written } = JSON.parse(readFileSync(join(state, 'manifest.json'), 'utf8'))
  const offsets = Object.keys(written.exports).map(name => Number(name.split(' ')[1]))
  return Math.min(...offsets.filter(offset => offset > 0))
}

/** Changes one byte. */
function flip(path: string, at = 50) {
  const bytes = readFileSync(path)
  bytes[at] ^= 1
  writeFileSync(path, bytes)
}

function flipWeight(state: string) {
  const [name] = Object.keys(JSON.parse(readFileSync(join(state, 'manifest.json'), 'utf8')).written.weights)
  const path = join(state, '../model.safetensors')
  const bytes = readFileSync(path)
  const start = 8 + Number(bytes.readBigUInt64LE())
  flip(path, start + JSON.parse(bytes.toString('utf8', 8, start))[name].data_offsets[0])
}
