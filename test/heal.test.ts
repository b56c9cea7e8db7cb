// `fasp heal` and `heal`: nearer to the dense model in every layout, what it says is so, nothing else changes, the same bytes again; and nothing
// where there is nothing to gain.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cp, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import { asValues } from '../src/engine/engine.ts'
import { elementsOf } from '../src/formats/dtype.ts'
import type { DType } from '../src/formats/tensors.ts'
import { memoryContext } from '../src/forward/context.ts'
import { divergences } from '../src/forward/divergence.ts'
import { Head, headRows } from '../src/forward/head.ts'
import { forward } from '../src/forward/stream.ts'
import { ffnHalves } from '../src/model/architecture.ts'
import { plainHalves } from '../src/model/half-block.ts'
import {
  exportModel,
  FaspError,
  type HealOptions,
  heal,
  inspect,
  loadTokenizer,
  logits,
  type Model,
  openModel,
  type ProgressEvent,
  prune,
  type Run,
  verify,
} from '../src/node.ts'
import { TRAINS, type Trains } from '../src/options/options.ts'
import { QUICK, refused, run, snapshot, TEXT, TINY_LLAMA, workplaces } from './fasp.ts'
import { madeModel } from './model-shapes.ts'
import { nightly, someOf } from './nightly.ts'
import { engineAndFolder, withModel } from './opened.ts'
import { asWindows, goldenOf, TINY_MODELS, TINY_NAMES, TINY_OPT, type TinyModel, tinyOf2Layers } from './tiny.ts'

const { engine, folder } = engineAndFolder()
const workplace = workplaces()
const DENSE = tinyOf2Layers()

/** Windows of 64 tokens: 12 to heal on, 4 to measure on. */
const windowsOf = (rows: number[][]) => {
  const all = rows.flatMap(row => [0, 64, 128, 192].map(from => row.slice(from, from + 64)))
  const { windows, ...others } = asWindows(all.slice(0, 16))
  const texts = [{ name: 'golden', tokens: 16 * 64, available: 16, used: 12, heldOut: 4 }]
  return { ...others, windows: windows.slice(0, 12), heldOut: windows.slice(12), texts }
}
const LLAMA = windowsOf(goldenOf('tiny-llama').calibration_windows)
const OPT = windowsOf(goldenOf('tiny-opt').calibration_windows)

/** Four steps of four windows. */
const SOME = { calibration: LLAMA, tokens: 4 * 4 * 64, batch: 4, every: 2, lr: 3e-4 } as const
/** One step. */
const ONE = { tokens: 4 * 64, every: 1 } as const

const fixture = (path: string) => fileURLToPath(new URL(`fixtures/${path}`, import.meta.url))
const MIXTURE = fixture('trained/tiny-mixture')
const at = (name: string) => join(folder, name)
const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'))
const pruned = (method: string, from = DENSE, calibration = LLAMA) => {
  const output = at(`${from === TINY_OPT ? 'opt' : 'llama'} ${method.replaceAll(/\W/g, '-')}`)
  return existsSync(output)
    ? Promise.resolve(output)
    : prune(from, { sparsity: 0.3, method, output, engine, calibration }).then(() => output)
}
const healed = (from: string | Model, output: string, options: Partial<Parameters<typeof heal>[1]> = {}) =>
  heal(from, { dense: DENSE, output, engine, ...SOME, ...options })
const done: Record<string, ReturnType<typeof heal>> = {}
/** What pruning by a method leaves, healed by the options that all have: once for all tests. */
async function usual(method: string) {
  const from = await pruned(method)
  const output = `${from} healed`
  return { from, output, result: await (done[method] ??= healed(from, output)) }
}

/** Mean KL of all rows of windows, by the code that other commands measure with. */
async function distance(dense: Model, other: Model, windows: readonly Int32Array[]): Promise<number> {
  const context = memoryContext(engine)
  const last = async (model: Model) => {
    const layers = forward(context, model, windows)
    for (;;) {
      const step = await layers.next()
      if (step.done) return await step.value.whole()
    }
  }
  const [p, q] = [await last(dense), await last(other)]
  const head = await Head.open(dense, engine) // which the pruned model has, too
  const d = dense.architecture.hiddenSize
  const [rooms, size] = [[0, 1].map(() => head.room()), headRows(dense.architecture) * d]
  let sum = 0
  for (let from = 0; from < p.length; from += size) {
    const rows = [p, q].map(all => asValues(all.subarray(from, from + size), d))
    const [logits, others] = [await head.logitsIn(rooms[0], rows[0]), await head.logitsIn(rooms[1], rows[1])]
    sum += (await divergences(engine, logits, others)).reduce((total, kl) => total + kl, 0)
  }
  return (sum * d) / p.length
}

describe.each([
  ['stock', 'stock'],
  ['padded', 'magnitude'],
  ['compact', 'plain:scope=ffn+ragged:layout=compact'],
  ['compact with biases', 'flap:layout=compact'],
])('layout %s', (_, method) => {
  let from: string
  let output: string
  let result: Awaited<ReturnType<typeof heal>>
  beforeAll(async () => {
    ;({ from, output, result } = await usual(method))
  })

  test('it is nearer to the dense model, by as much as the result says', async () => {
    expect(result.kl.after).toBeLessThan(result.kl.before)
    expect(result.curve.map(({ step }) => step)).toEqual([0, 2, 4])
    await withModel(DENSE, async dense => {
      const of = (path: string) => withModel(path, model => distance(dense, model, LLAMA.heldOut))
      expect(await of(from)).toBeCloseTo(result.kl.before, 5)
      expect(await of(output)).toBeCloseTo(result.kl.after, 5)
    })
  })

  test('only weights of linear layers change, zeros stay, and files have the names, shapes and types that they had', async () => {
    expect((await readdir(output)).sort()).toEqual((await readdir(from)).sort())
    expect(json(join(output, 'config.json'))).toEqual(json(join(from, 'config.json')))
    await using before = await openModel(from)
    await using after = await openModel(output)
    const [old, now] = [before, after].map(({ checkpoint }) => checkpoint.tensors)
    expect([...now.tensors.values()]).toEqual([...old.tensors.values()])
    for (const [name, { shape }] of old.tensors) {
      const isLinear = name.includes('.layers.') && (shape.length === 2 || name.endsWith('bias'))
      const [w, v] = [await old.float32(name), await now.float32(name)]
      expect(Buffer.compare(await old.bytes(name), await now.bytes(name)) === 0, name).toBe(
        !isLinear || w.every(one => one === 0),
      )
      expect(
        w.every((one, i) => one !== 0 || v[i] === 0),
        name,
      ).toBe(true)
    }
  })

  test('it is whole, and says on how many tokens it was healed', async () => {
    const { checks } = await verify(output, { engine })
    expect(checks.filter(({ found }) => found !== 'right')).toEqual([])
    const { healed, ...others } = json(join(output, 'fasp.json'))
    expect(healed).toMatchObject({ tokens: 4 * 4 * 64, step: 4, steps: 4, lr: 3e-4, train: 'all', kl: result.kl })
    expect(others.layers).toEqual(json(join(from, 'fasp.json')).layers)
    expect((await inspect(output)).pruned?.healed).toBe(4 * 4 * 64)
    expect((await inspect(from)).pruned).not.toHaveProperty('healed')
    const card = readFileSync(join(output, 'README.md'), 'utf8')
    expect(card).toContain('# tiny-llama, pruned and healed')
    expect(card).toContain(`| ${result.kl.before.toFixed(4)} | ${result.kl.after.toFixed(4)} |`)
    expect(card).not.toContain('without retraining')
  })
})

/** The model with every third neuron set to zero, as the oracle has it. */
function withoutNeurons({ checkpoint, architecture }: Model): Model {
  const { tensors } = checkpoint
  const places = new Map<string, (i: number) => number>() // neuron of an element
  for (const { inputs, output } of ffnHalves(architecture).flatMap(plainHalves)) {
    for (const { name, in: columns } of inputs) {
      places.set(`${name}.weight`, i => Math.floor(i / columns))
      places.set(`${name}.bias`, i => i)
    }
    places.set(`${output.name}.weight`, i => i % output.in)
  }
  const bytes = async (name: string) => {
    const stored = await tensors.bytes(name)
    const neuron = places.get(name)
    if (!neuron) return stored
    const values = elementsOf(stored, tensors.tensors.get(name)!.dtype as DType)
    for (const i of values.keys()) if (neuron(i) % 3 === 1) values.fill(0, i, i + 1)
    return stored
  }
  return { checkpoint: { ...checkpoint, tensors: { ...tensors, bytes } }, architecture }
}

describe('step by step as PyTorch does', () => {
  const { curves, lr, rank, loraRate, steps, ...counts } = json(fixture('healing/oracle.json'))
  const cases: [name: string, model: string, tokens: TinyModel, train: Trains, top?: number][] = [
    ...TINY_NAMES.flatMap(name =>
      TRAINS.map((train): [string, string, TinyModel, Trains] => [name, TINY_MODELS[name], name, train]),
    ),
    ['tiny-mixture', MIXTURE, 'tiny-llama', 'all'],
    ...TINY_NAMES.map((name): [string, string, TinyModel, Trains, number] => [name, TINY_MODELS[name], name, 'all', 0]),
  ]
  const all = cases.map(([name, model, tokens, train, top = 1024]) => ({ name, model, tokens, train, top }))
  const STAND = ['tiny-llama lora 1024', 'tiny-opt all 1024']
  test.each(someOf(all, ({ name, train, top }) => STAND.includes(`${name} ${train} ${top}`)))(
    '$name, $train layers, top $top',
    async ({ name, model, tokens, train, top }) => {
      const rows: number[][] = goldenOf(tokens).calibration_windows.slice(0, counts.windows + counts.heldOut)
      const { windows, ...others } = asWindows(rows.map(row => row.slice(0, counts.length)))
      const [on, heldOut] = [windows.slice(0, counts.windows), windows.slice(counts.windows)]
      const rates = train === 'lora' ? { lr: loraRate, rank } : { lr }
      const settings = {
        ...rates,
        ...{ train, top },
        every: 1,
        batch: counts.windows,
        tokens: steps * counts.windows * counts.length,
      }
      await withModel(model, async dense => {
        const { curve } = await healed(withoutNeurons(dense), at(`oracle ${name} ${train} ${top}`), {
          ...{ dense: model, calibration: { ...others, windows: on, heldOut }, ...settings },
        })
        const expected: number[] = curves[name][train]
        expect(curve).toHaveLength(expected.length)
        for (const [i, { kl }] of curve.entries()) expect(Math.abs(kl / expected[i] - 1)).toBeLessThan(2e-4)
      })
    },
  )
})

test('OPT with its biases, and again what was healed: tokens add up', async () => {
  const from = await pruned('magnitude', TINY_OPT, OPT)
  const options = { dense: TINY_OPT, calibration: OPT, lr: 1e-4, tokens: 2 * 4 * 64 }
  const first = await healed(from, at('opt once'), options)
  expect(first.kl.after).toBeLessThan(first.kl.before)
  const second = await healed(at('opt once'), at('opt twice'), options)
  expect(second.kl.before).toBeCloseTo(first.kl.after, 6)
  expect(json(at('opt twice/fasp.json')).healed.tokens).toBe(first.tokens + second.tokens)
})

test('the same bytes again, with everything in scratch files; others by another order', async () => {
  const { from, output: first } = await usual('magnitude')
  await healed(from, at('scratch'), { memory: 0 })
  await healed(from, at('other'), { seed: 1 })
  const file = (path: string, name = 'model.safetensors') => readFileSync(join(path, name))
  expect(Buffer.compare(file(at('scratch')), file(first))).toBe(0)
  expect(`${file(at('scratch'), 'fasp.json')}`).toBe(`${file(first, 'fasp.json')}`)
  expect(Buffer.compare(file(at('other')), file(first))).not.toBe(0)
  expect((await readdir(folder)).filter(name => name.startsWith('.'))).toEqual([])
})

test('of the dense model nothing is made for windows that no step takes', async () => {
  const asked: (number | undefined)[] = []
  const onEvent = (event: ProgressEvent) => {
    if (event.type === 'phase' && event.phase === 'dense probabilities') asked.push(event.total)
  }
  const few = { tokens: 2 * 4 * 64, onEvent } // of 12 windows 8
  const { cacheBytes } = await healed(await pruned('magnitude'), at('few steps'), few)
  expect(asked).toEqual([8 * 64])
  expect(cacheBytes).toBe(8 * 64 * 4 * 2049)
  await healed(await pruned('magnitude'), at('many steps'), { ...few, tokens: 4 * 4 * 64 })
  expect(asked).toEqual([8 * 64, 12 * 64])
})

describe('stopped, and gone on', () => {
  class Stopped extends Error {}
  const options = { tokens: 6 * 2 * 64, batch: 2, every: 2, saveEvery: 0, seed: 2 } as const

  /** Runs until `end` events have come. @returns them */
  async function stopped(from: string, output: string, end: number, more: Partial<HealOptions> = {}) {
    const events: ProgressEvent[] = []
    const onEvent = (event: ProgressEvent) => {
      if (events.push(event) === end) throw new Stopped()
    }
    await heal(from, { dense: DENSE, output, engine, ...SOME, ...options, ...more, onEvent }).catch(error => {
      if (!(error instanceof Stopped)) throw error
    })
    return events
  }
  const states = () => readdirSync(folder).filter(name => name.endsWith('.partial'))

  const files = (name: string) => ['model.safetensors', 'fasp.json'].map(file => readFileSync(at(`${name}/${file}`)))
  let from: string
  let events: ProgressEvent[]
  beforeAll(async () => {
    from = await pruned('magnitude')
    events = await stopped(from, at('whole'), Infinity)
  })
  const measured = (n: number) => events.flatMap(({ type }, i) => (type === 'divergence' ? [i + 1] : []))[n]

  const places: [string, () => number, string, number][] = [
    ['before its first step', () => 5, 'Goes on after calibration', 4],
    ['when it has measured once', () => measured(1), 'Goes on after step 2', 0],
    ['in a step after that', () => measured(1) + 1, 'Goes on after step 3', 4],
    ['after the last', () => measured(3), 'Goes on after step 6', 0],
    ['while it writes', () => events.length - 20, 'Goes on after step 6', 4],
  ]
  test.each(someOf(places, ([place]) => /^in a step|writes/.test(place)))(
    '%s, it gives the same bytes',
    async (_, end, says, memory) => {
      const output = `stopped at ${end()}`
      await stopped(from, at(output), end())
      const rows = readdirSync(join(at(states()[0]), 'state')).filter(name => name.startsWith('rows'))
      expect(rows).toHaveLength(end() < measured(1) ? 0 : 1) // those of the saving before have gone
      const told: string[] = []
      const onEvent = (event: ProgressEvent) => {
        if (event.type === 'notice') told.push(event.message)
      }
      const again = { output: at(output), resume: true, memory, onEvent }
      await heal(from, { dense: DENSE, engine, ...SOME, ...options, ...again })
      for (const [i, bytes] of files(output).entries()) expect(Buffer.compare(bytes, files('whole')[i])).toBe(0)
      expect(told.filter(message => message.startsWith(says))).toHaveLength(1)
      expect(states()).toEqual([])
    },
  )

  nightly('low-rank updates go on to the same bytes, and to none of another rank', async () => {
    const lora = { train: 'lora', lr: 1e-3, rank: 4 } as const
    const all = await stopped(from, at('whole lora'), Infinity, lora)
    const end = all.findLastIndex(({ type }) => type === 'divergence')
    await stopped(from, at('stopped lora'), end, lora)
    const goneOn = (more: Partial<HealOptions>) =>
      healed(from, at('stopped lora'), { ...options, ...lora, ...more, resume: true })
    await expect(goneOn({ rank: 8 })).rejects.toThrow(/holds the state of another run: rank is 8, there 4/)
    await goneOn({})
    for (const [i, bytes] of files('stopped lora').entries())
      expect(Buffer.compare(bytes, files('whole lora')[i])).toBe(0)
  })

  test('with another option, text or model it is refused, and the state stays', async () => {
    await stopped(from, at('later'), 25)
    const [state] = states()
    const refusedWith = (more: Partial<HealOptions>, says: RegExp, of = from) =>
      expect(healed(of, at('later'), { ...options, ...more, resume: true })).rejects.toThrow(says)
    await refusedWith({ top: 0 }, /holds the state of another run: top is 0, there 1024/)
    await refusedWith({ lr: 2e-4 }, /holds the state of another run: lr is 0\.0002, there 0\.0003/)
    await refusedWith({ calibration: { ...LLAMA, windows: LLAMA.windows.toReversed() } }, /calibrationWindows is/)
    await refusedWith({}, /healing model is/, await pruned('stock'))
    await refusedWith({ dense: madeModel({ ...SIZES, vocab_size: 1024, hidden_size: 128 }, 1) }, /a run of two paths/)
    expect(states()).toEqual([state])
    await healed(from, at('later'), { ...options, resume: true })
    expect(states()).toEqual([])
  })
})

test('of FFNs alone: attention stays as it was', async () => {
  const from = await pruned('magnitude')
  const { kl } = await healed(from, at('ffn'), { train: 'ffn' })
  expect(kl.after).toBeLessThan(kl.before)
  await using before = await openModel(from)
  await using after = await openModel(at('ffn'))
  for (const name of before.checkpoint.tensors.tensors.keys()) {
    const [old, now] = [await before.checkpoint.tensors.bytes(name), await after.checkpoint.tensors.bytes(name)]
    expect(Buffer.compare(old, now) === 0, name).toBe(!name.includes('.mlp.'))
  }
})

test('by some of the likely tokens, and by all of them, in memory and in scratch files', async () => {
  const from = await pruned('magnitude')
  const by = async (top: number | undefined, memory?: number) => {
    const output = at(`top ${top} ${memory}`)
    const { kl, cacheBytes } = await healed(from, output, { top, memory, tokens: 2 * 4 * 64 })
    const { healed: record } = json(join(output, 'fasp.json'))
    expect(record.top).toBe(top ?? 1024)
    expect(kl.after).toBeLessThan(kl.before)
    return { kl, bytes: readFileSync(join(output, 'model.safetensors')), each: cacheBytes / (8 * 64) }
  }
  const [all, scratch, few, most] = [await by(0), await by(0, 0), await by(8), await by(undefined)]
  expect(Buffer.compare(all.bytes, scratch.bytes)).toBe(0)
  expect(Buffer.compare(all.bytes, few.bytes)).not.toBe(0)
  expect([all, few, most].map(({ each }) => each)).toEqual([4 * 128, 4 * 17, 4 * 2049]) // of a position; d = 128
  expect(Math.abs(most.kl.after / all.kl.after - 1)).toBeLessThan(1e-3) // a vocabulary of 1024
})

/** Input layers of half-blocks 2^by times as small and norms before them as many times as large, in bf16: a model that computes the same. */
function scale(path: string, by: number): void {
  const bytes = readFileSync(path)
  const start = 8 + Number(bytes.readBigUInt64LE())
  const { __metadata__, ...tensors } = JSON.parse(bytes.toString('utf8', 8, start))
  for (const [name, { data_offsets }] of Object.entries<{ data_offsets: number[] }>(tensors)) {
    const exponent = /[qkv]_proj|gate|up_proj/.test(name) ? -by : /layers.*norm/.test(name) ? by : 0
    for (let at = start + data_offsets[0]; at < start + data_offsets[1]; at += 2) {
      const bits = bytes.readUInt16LE(at)
      if ((bits & 0x7f80) > 0x0200) bytes.writeUInt16LE(bits + exponent * 0x80, at)
    }
  }
  writeFileSync(path, bytes)
}

describe('at the rate that it has by itself', () => {
  const options = { tokens: 8 * 4 * 64, every: 4, lr: undefined, saveEvery: 0 } as const
  async function scaled(by: number): Promise<string> {
    const folder = at(`scaled by ${by}`)
    await cp(await pruned('stock'), folder, { recursive: true })
    scale(join(folder, 'model.safetensors'), by)
    return folder
  }
  const back = (event: ProgressEvent) =>
    event.type === 'notice' && event.message.startsWith('Worse than the start: back to step 0')

  test('goes back, and on more slowly, where that harms, the same when it was stopped there', async () => {
    const from = await scaled(6)
    const events: ProgressEvent[] = []
    const { kl, lr, curve } = await healed(from, at('slower'), { ...options, onEvent: event => events.push(event) })
    expect(events.filter(back).map(event => 'message' in event && event.message)).toEqual([
      'Worse than the start: back to step 0, and on at a rate of 0.000025.',
    ])
    expect(curve[1].kl).toBeGreaterThan(kl.before)
    expect(kl.after).toBeLessThan(kl.before)
    expect([lr, json(at('slower/fasp.json')).healed.lr]).toEqual([2.5e-5, 2.5e-5])
    const told = healed(from, at('as told'), { ...options, lr: 1e-4, onEvent: event => events.push(event) })
    await expect(told).rejects.toThrow(/did not bring it nearer/)
    expect(events.filter(back)).toHaveLength(1)

    let stops = true
    const stop = (event: ProgressEvent) => {
      if (stops && back(event)) throw new Error('stopped')
    }
    const run = () => healed(from, at('goes on'), { ...options, resume: !stops, onEvent: stop })
    await expect(run()).rejects.toThrow('stopped')
    stops = false
    await run()
    const weights = (name: string) => readFileSync(at(`${name}/model.safetensors`))
    expect(Buffer.compare(weights('goes on'), weights('slower'))).toBe(0)
  })

  test('at a rate that is told, ends where gradients are no numbers any more', async () => {
    const events: ProgressEvent[] = []
    const told = healed(await scaled(60), at('none'), { ...options, lr: 1, onEvent: event => events.push(event) })
    await expect(told).rejects.toThrow(/KL was 0\.\d{4}\. Nothing is written/)
    expect(events).toContainEqual({ type: 'notice', message: 'Step 2 comes to no numbers; a lower --lr may help.' })
    expect(existsSync(at('none'))).toBe(false)
  })
})

describe('by low-rank updates', () => {
  const layouts = [
    ['padded', 'magnitude'],
    ['compact with biases', 'flap:layout=compact'],
  ]
  test.each(someOf(layouts, ([layout]) => layout === 'padded'))(
    'nearer, the same bytes again in scratch files, zeros and biases stay: %s',
    async (layout, method) => {
      const from = await pruned(method)
      const by = (name: string, options: Partial<HealOptions> = {}) =>
        healed(from, at(`${layout} ${name}`), { train: 'lora', lr: undefined, ...options })
      const { kl } = await by('lora')
      expect(kl.after).toBeLessThan(kl.before)
      await by('lora scratch', { memory: 0 })
      await by('lora of another rank', { ...ONE, rank: 2, train: undefined })
      const weights = (name: string) => readFileSync(at(`${layout} ${name}/model.safetensors`))
      expect(Buffer.compare(weights('lora scratch'), weights('lora'))).toBe(0)
      const record = (name: string) => json(at(`${layout} ${name}/fasp.json`)).healed
      expect(record('lora')).toMatchObject({ train: 'lora', rank: 16, lr: 1e-3, kl })
      expect(record('lora of another rank')).toMatchObject({ train: 'lora', rank: 2 })
      await using before = await openModel(from)
      await using after = await openModel(at(`${layout} lora`))
      const [old, now] = [before, after].map(({ checkpoint }) => checkpoint.tensors)
      expect([...now.tensors.values()]).toEqual([...old.tensors.values()])
      for (const [name, { shape }] of old.tensors) {
        const [w, v] = [await old.float32(name), await now.float32(name)]
        const isLinear = name.includes('.layers.') && shape.length === 2
        expect(Buffer.compare(await old.bytes(name), await now.bytes(name)) === 0, name).toBe(!isLinear)
        expect(
          w.every((one, i) => one !== 0 || v[i] === 0),
          name,
        ).toBe(true)
      }
    },
  )
})

const mixtures = [
  ['plain:repair=none:scope=experts', 'lora', 1e-3],
  ['plain:repair=none', 'all', 3e-4],
] as const
test.each(someOf(mixtures, () => false))(
  'a mixture of experts, by %s, %s: all weights but those of routers',
  async (method, train, lr) => {
    const from = at(`mixture ${train}`)
    await prune(MIXTURE, { sparsity: 0.2, method, output: from, engine, calibration: LLAMA })
    const by = (name: string, options: Partial<HealOptions> = {}) =>
      healed(from, `${from} ${name}`, { dense: MIXTURE, train, lr, tokens: 3 * 4 * 64, ...options })
    const { kl } = await by('healed')
    expect(kl.after).toBeLessThan(kl.before)
    await by('scratch', { memory: 0 })
    const [one, other] = ['healed', 'scratch'].map(name => readFileSync(`${from} ${name}/model.safetensors`))
    expect(Buffer.compare(one, other)).toBe(0)
    await using before = await openModel(from)
    await using after = await openModel(`${from} healed`)
    const [old, now] = [before, after].map(({ checkpoint }) => checkpoint.tensors)
    expect([...now.tensors.values()]).toEqual([...old.tensors.values()])
    for (const [name, { shape }] of old.tensors) {
      const isTrained = name.includes('.layers.') && shape.length > 1 && !name.endsWith('.gate.weight')
      expect(Buffer.compare(await old.bytes(name), await now.bytes(name)) === 0, name).toBe(!isTrained)
    }
    const { checks } = await verify(`${from} healed`, { engine })
    expect(checks.filter(({ found }) => found !== 'right')).toEqual([])
  },
)

const exports = [
  ['a mixture as GGUF', MIXTURE, 'plain:scope=experts', { to: 'gguf', dtype: 'F32' }],
  ['a compact model padded', DENSE, 'plain:scope=ffn+ragged:layout=compact', { to: 'padded', dtype: 'F32' }],
] as const
test.each(someOf(exports, ([, dense]) => dense === DENSE))(
  'what is exported of healed models computes the same: %s',
  async (_, dense, method, to) => {
    const [from, output, out] = ['', ' healed', to.to === 'gguf' ? '.gguf' : ' out'].map(end =>
      at(`exported ${to.to}${end}`),
    )
    await prune(dense, { sparsity: 0.3, method, output: from, engine, calibration: LLAMA, dtype: 'F32' })
    await healed(from, output, { dense, ...ONE })
    await exportModel(output, { output: out, to: [to], engine })
    const ids = [...LLAMA.heldOut[0]]
    const [one, other] = await Promise.all(
      [output, out].map(path => withModel(path, model => logits(model, engine, ids))),
    )
    for (const [i, logit] of one.entries()) expect(Math.abs(other[i] - logit)).toBeLessThan(1e-3)
  },
)

describe('with a part of the vocabulary', () => {
  const ids = goldenOf('tiny-llama').calibration_windows.flat()
  const place = at('part')
  let text: string
  beforeAll(async () => {
    text = await withModel(DENSE, async ({ checkpoint }) => loadTokenizer(checkpoint).decode(ids))
    const story = { name: 'story', text: async () => text }
    const vocabulary = { keep: [story], size: 600 }
    const options = { sparsity: 0.3, method: 'magnitude', windows: 4, seqLen: 64, output: place, engine }
    await prune(DENSE, { ...options, calibration: [story], vocabulary })
  })

  test('it goes by the probabilities that the dense model gives these tokens, by their sum', async () => {
    await using dense = await openModel(DENSE)
    await using before = await openModel(place)
    const all = loadTokenizer(before.checkpoint).encode(text)
    const rows = Array.from({ length: 16 }, (_, i) => Array.from(all.subarray(64 * i, 64 * (i + 1))))
    const calibration = windowsOf(rows.map(row => [...row, ...Array(192).fill(0)])) // a window of each
    const windows = rows.map(row => Int32Array.from(row))
    const given = { ...calibration, windows: windows.slice(0, 12), heldOut: windows.slice(12) }
    const { kl } = await healed(place, `${place} healed`, { calibration: given })
    expect(kl.after).toBeLessThan(kl.before)
    await using after = await openModel(`${place} healed`)
    const tokens = ({ checkpoint: { tokenizer } }: Model) => {
      const { model, added_tokens: added } = tokenizer as {
        model: { vocab: Record<string, number> }
        added_tokens: { content: string; id: number }[]
      }
      return { ...model.vocab, ...Object.fromEntries(added.map(({ content, id }) => [content, id])) }
    }
    const [places, of] = [tokens(before), tokens(dense)]
    const kept = Object.entries(places)
      .sort(([, a], [, b]) => a - b)
      .map(([token]) => of[token])
    expect(kept).toHaveLength(before.architecture.vocabularySize)
    expect(kept.length).toBeLessThanOrEqual(600)
    const probabilities = (row: number[]) => {
      const total = row.reduce((sum, z) => sum + Math.exp(z), 0)
      return row.map(z => Math.exp(z) / total)
    }
    for (const [model, expected] of [
      [before, kl.before],
      [after, kl.after],
    ] as const) {
      let sum = 0
      for (const window of given.heldOut) {
        const p = await logits(
          dense,
          engine,
          window.map(id => kept[id]),
        )
        const q = await logits(model, engine, window)
        for (let row = 0; row < window.length; row++) {
          const [whole, part] = [p, q].map(all => [
            ...all.subarray((row * all.length) / 64, ((row + 1) * all.length) / 64),
          ])
          const [ps, qs] = [probabilities(kept.map(id => whole[id])), probabilities(part)]
          sum += ps.reduce((total, one, i) => total + one * Math.log(one / qs[i]), 0)
        }
      }
      expect(sum / (64 * given.heldOut.length)).toBeCloseTo(expected, 5)
    }
  })

  test('texts are tokenised by its tokenizer', async () => {
    const story = { name: 'story', text: async () => text }
    const options = { calibration: [story], seqLen: 64, heldOut: 2, windows: 12 }
    const { kl } = await healed(place, `${place} by text`, options)
    expect(kl.after).toBeLessThan(kl.before)
  })

  test('tokens that the dense model has not are named', async () => {
    await cp(place, at('part renamed'), { recursive: true })
    const path = at('part renamed/tokenizer.json')
    const tokenizer = json(path)
    const [[token]] = Object.entries<number>(tokenizer.model.vocab).filter(([, id]) => id === 500)
    tokenizer.model.vocab.unheardOf = tokenizer.model.vocab[token]
    delete tokenizer.model.vocab[token]
    tokenizer.model.merges = tokenizer.model.merges.filter(
      (merge: string | string[]) => ![merge].flat().join(' ').includes(token),
    )
    writeFileSync(path, JSON.stringify(tokenizer))
    await expect(healed(at('part renamed'), at('never'))).rejects.toThrow(
      /its token 500, "unheardOf", is not in that of .*tiny-llama\. Give the model that it was pruned from/,
    )
  })
})

test('a GGUF file becomes a folder, and that a GGUF file again, which says so', async () => {
  const gguf = at('pruned.gguf')
  await exportModel(await pruned('stock'), { output: gguf, engine })
  const { kl } = await healed(gguf, at('from-gguf'))
  expect(kl.after).toBeLessThan(kl.before)
  await exportModel(at('from-gguf'), { output: at('again.gguf'), engine })
  expect((await inspect(at('again.gguf'))).pruned?.healed).toBe(4 * 4 * 64)
})

describe('measured on another text', () => {
  const OTHER = 'The ship left the harbour at noon; nobody on the quay knew where she went.\n'.repeat(60)
  const options = { seqLen: 64, heldOut: 3, tokens: 2 * 4 * 64 }

  test('KL is of its windows, which the result names', async () => {
    writeFileSync(at('story.txt'), TEXT)
    writeFileSync(at('other.txt'), OTHER)
    const texts = { ...options, calibration: [at('story.txt')], measureOn: [at('other.txt')] }
    const from = await pruned('stock')
    const { kl, calibration } = await healed(from, at('by another'), texts)
    expect(calibration.texts).toMatchObject([{ name: at('story.txt'), used: 8, heldOut: 0 }])
    expect(calibration.measuredOn).toMatchObject([{ name: at('other.txt'), used: 3 }])
    expect(json(at('by another/fasp.json')).healed.calibration).toEqual(JSON.parse(JSON.stringify(calibration)))
    await withModel(DENSE, async (dense, checkpoint) => {
      const all = [...loadTokenizer(checkpoint).encode(OTHER)]
      const available = Math.floor(all.length / 64)
      const windows = [0, 1, 2].map(i => Math.floor((i * available) / 3) * 64)
      const ids = windows.map(start => Int32Array.from(all.slice(start, start + 64)))
      expect(await withModel(from, model => distance(dense, model, ids))).toBeCloseTo(kl.before, 5)
      expect(await withModel(at('by another'), model => distance(dense, model, ids))).toBeCloseTo(kl.after, 5)
    })
    const own = await healed(from, at('by the same'), { ...options, calibration: texts.calibration })
    expect(own.calibration).not.toHaveProperty('measuredOn.0')
    expect(own.kl.before).not.toBeCloseTo(kl.before, 3)
  })

  test('and by windows that are given, and by what the model writes', async () => {
    writeFileSync(at('other.txt'), OTHER)
    const { calibration } = await healed(await pruned('stock'), at('given'), {
      ...ONE,
      heldOut: 2,
      measureOn: [at('other.txt'), 'self'],
    })
    expect(calibration.measuredOn).toMatchObject([
      { name: at('other.txt'), used: 2 },
      { name: expect.stringContaining('model'), used: 2 },
    ])
  })

  test('a text that is healed on is refused', async () => {
    writeFileSync(at('story.txt'), TEXT)
    const both = { ...options, calibration: [at('story.txt')], measureOn: [at('story.txt')] }
    await expect(healed(await pruned('stock'), at('never'), both)).rejects.toThrow(
      /story\.txt is to be measured on, and healed on, too/,
    )
  })
})

test('windows that come again are kept once', async () => {
  writeFileSync(at('short.txt'), TEXT.slice(0, 2000))
  const short = { calibration: [at('short.txt')], seqLen: 64, heldOut: 2 }
  const { cacheBytes, calibration } = await healed(await pruned('stock'), at('on few'), short)
  const { used } = calibration.texts[0]
  expect(used * 64).toBeLessThan(SOME.tokens)
  expect(cacheBytes).toBe(used * 64 * 4 * (2 * 1024 + 1)) // ids and log-probabilities, and the rest
})

/** A folder for outputs that nothing comes to, and what is in it and in models that are pruned. */
const NOTHING = at('nothing')
mkdirSync(NOTHING)
const never = join(NOTHING, 'never')
const written = async () => [await snapshot(NOTHING), await snapshot(await pruned('stock'))]

describe('nothing is written', () => {
  test.each([
    ['where nothing moves', { lr: 0 }],
    ['where steps are too large', { lr: 1 }],
    ['where it is the dense model already', { from: DENSE }],
  ])('%s', async (_, { from, ...options }: { from?: string; lr?: number }) => {
    const model = from ?? (await pruned('stock'))
    const before = await written()
    const healing = healed(model, never, { ...ONE, ...options, saveEvery: 0 })
    await expect(healing).rejects.toThrow(/healing did not bring it nearer to the dense model: .* Nothing is written/)
    expect(await written()).toEqual(before)
  })

  test('where weights are so large that nothing comes to a number', async () => {
    await cp(await pruned('stock'), at('large'), { recursive: true })
    const file = join(at('large'), 'model.safetensors')
    const large = readFileSync(file)
    large.subarray(-4096).fill(0x7f)
    writeFileSync(file, large)
    const before = await written()
    await expect(healed(at('large'), never)).rejects.toThrow(/its distance to the dense model comes to no number/)
    expect(await written()).toEqual(before)
  })
})

const SIZES = {
  ...{ model_type: 'llama', num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 8 },
  max_position_embeddings: 256,
}

describe('what cannot be healed', () => {
  const cases: Record<string, [Partial<HealOptions> & { from?: string }, RegExp]> = {
    'another vocabulary': [
      { dense: madeModel({ ...SIZES, vocab_size: 40, hidden_size: 128 }, 1) },
      /has a vocabulary of 1024, and made of 40\. Give the model that it was pruned from/,
    ],
    'another hidden size': [
      { dense: madeModel({ ...SIZES, vocab_size: 1024, hidden_size: 64 }, 1) },
      /has a hidden size of 128, and made of 64\. Give the model that it was pruned from/,
    ],
    'another model with as many tokens': [{ dense: TINY_OPT }, /have different tokenizers/],
    'no folder': [{ from: '/nowhere/at-all' }, /nowhere/],
    'no dense folder': [{ dense: '/nowhere/at-all' }, /nowhere/],
    'no text': [{ calibration: ['/nowhere.txt'] }, /nowhere\.txt/],
    'no window': [{ calibration: { ...LLAMA, windows: [] } }, /has no windows to heal on/],
    'nothing to measure on': [{ calibration: { ...LLAMA, heldOut: [] } }, /no window is left to measure on/],
    'a .gguf output': [{ output: 'out.gguf' }, /a healed model is a folder/],
    'no tokens': [{ tokens: 0 }, /^tokens is 0; it must be an integer from 1/],
    'half a step': [{ every: 0.5 }, /^every is 0\.5; it must be an integer from 1/],
    'a rate below 0': [{ lr: -1 }, /^lr is -1; it must be a number from 0 to 1/],
    'layers that are none': [{ train: 'head' as 'all' }, /^train is "head"; it must be one of all, ffn, lora/],
    'products that are none': [
      { products: 'fp8' as 'bf16' },
      /^products is "fp8"; it must be one of float32, bf16, tf32/,
    ],
    'products of a GPU': [{ products: 'tf32' }, /^Products in tf32 are an NVIDIA GPU’s by --device cuda/],
    'a rank of all weights': [{ train: 'all', rank: 8 }, /^rank is of low-rank updates, and train is "all"/],
    'tokens below 0': [{ top: -1 }, /^top is -1; it must be an integer from 0/],
    'no rank': [{ train: 'lora', rank: 0 }, /^rank is 0; it must be an integer from 1/],
    'windows that are too long': [
      { calibration: undefined, seqLen: 1000 },
      /^seq-len is 1000; it must be an integer from 2 to 256/,
    ],
    'text held out by nobody': [{ heldOut: 0 }, /^held-out is 0; it must be an integer from 1/],
    'an option that is none': [{ windws: 3 } as Partial<HealOptions>, /unknown option windws. Did you mean windows\?/],
    'a number for a folder': [{ output: 3 as unknown as string }, /output is 3; it must be a string/],
  }
  test.each(Object.entries(cases))('%s', async (_, [{ from, ...options }, says]) => {
    const model = from ?? (await pruned('stock'))
    const before = await written()
    const healing = healed(model, never, options)
    await expect(healing).rejects.toThrow(says)
    await expect(healing).rejects.toThrow(FaspError)
    expect(await written()).toEqual(before)
  })

  test('a tokenizer that has two tokens in the place of each other', async () => {
    await cp(await pruned('stock'), at('other-tokenizer'), { recursive: true })
    const path = at('other-tokenizer/tokenizer.json')
    const tokenizer = json(path)
    const { vocab } = tokenizer.model
    const [a, b] = new Set(LLAMA.windows[3])
    for (const [token, id] of Object.entries(vocab)) if (id === a || id === b) vocab[token] = a + b - Number(id)
    writeFileSync(path, JSON.stringify(tokenizer))
    await expect(healed(at('other-tokenizer'), never)).rejects.toThrow('have different tokenizers')
  })

  test('more memory than there is', async () => {
    const options = { memory: 1e6, batch: 10000, calibration: undefined, windows: 1e6, seqLen: 256 }
    await expect(healed(await pruned('stock'), never, options)).rejects.toThrow(/this takes about .* of memory/)
  })
})

describe('the command', () => {
  const LENGTHS = [
    '--threads',
    '1',
    '--calibration',
    'text.txt',
    '--seq-len',
    '32',
    '--tokens',
    '1024',
    '--windows',
    '32',
    '--batch',
    '8',
  ]

  test('says what came of it, shows the way there, and what to do next', async () => {
    const place = await workplace()
    await run(place, 'prune', TINY_LLAMA, '-s', '0.5', '-o', 'out', '--method', 'magnitude', ...QUICK)
    const reports = ['json', 'md', 'html'].flatMap(ending => ['--report', `r.${ending}`])
    const healing = ['heal', 'out', '--dense', TINY_LLAMA, '-o', 'healed', '--lr', '1e-3', ...LENGTHS, ...reports]
    const { stdout, stderr } = await run(place, ...healing)
    expect(stdout).toMatch(
      /^Healed on 1,024 tokens: KL to the dense model on held-out windows \d\.\d{4} →\s\d\.\d{4}\.$/m,
    )
    expect(stdout).toMatch(/^4 +0\.\d{4} +kept$/m)
    expect(stdout).toContain('Wrote healed')
    expect(stdout).toContain('fasp export healed --to gguf -o healed.gguf')
    expect(stderr).toMatch(/^step 4 of 4: KL 0\.\d{4} on held-out windows$/m)
    expect(stderr).toMatch(/^The dense model's probabilities take \S+ \wB/m)
    const { lines } = await run(place, 'inspect', 'healed')
    expect(lines).toContain('healed: 1,024 tokens')
    const said = stdout.split('\n')
    const curve = said.slice(said.indexOf('') + 1).slice(0, 1 + 5) // a line a step
    expect(curve[0]).toMatch(/^step +KL$/)
    for (const line of [said[0], ...curve]) expect(lines).toContain(line)
    const { healed } = JSON.parse((await run(place, 'inspect', 'healed', '--json')).stdout)
    const { tokens, step, kl, curve: points } = json(join(place, 'healed/fasp.json')).healed
    expect(healed).toEqual({ tokens, step, kl, curve: points })
    expect(stdout).toContain('Wrote r.html')
    const { command, model, runs } = json(join(place, 'r.json'))
    expect([command, model.name]).toEqual(['heal', 'tiny-llama'])
    expect(runs.map((one: Run) => one.name)).toEqual(['dense', 'magnitude', 'magnitude'])
    expect(runs.map((one: Run) => one.healed)).toEqual([undefined, undefined, 1024])
    expect(runs[0].parameters).toBe(model.parameters)
    expect(runs[1].parameters).toBe(json(join(place, 'out/fasp.json')).sizes.parameters.effective)
    expect(runs[2].parameters).toBe(runs[1].parameters)
    expect(runs[2].heal).toMatchObject({ tokens, step, kl, curve: points })
    expect(new Set(runs.map((one: Run) => one.samples[0].text)).size).toBe(3)
    const before = kl.before.toFixed(4)
    expect(readFileSync(join(place, 'r.md'), 'utf8')).toMatch(
      `| magnitude 50 % | 1,024 tokens | ${step} of 4 | ${before} |`,
    )
    expect(readFileSync(join(place, 'r.html'), 'utf8')).toContain('Healing: KL to the dense model over the steps')
    const row = /^model +healed .*\n(.*\n)*magnitude 50 % +1,024 tokens /m
    expect((await run(place, 'report', 'r.json')).stdout).toMatch(row)
    const report = ['--report', 'report.json', '--report', 'report.md', '--seq-len', '64', '--windows', '2']
    const measured = await run(place, 'eval', 'healed', '--dense', TINY_LLAMA, '--text', 'text.txt', ...report)
    expect(measured.stdout).toMatch(/^model +healed .*\ndense +– .*\nhealed +1,024 tokens /m)
    expect(json(join(place, 'report.json')).runs.map((one: Run) => one.healed)).toEqual([undefined, 1024])
    expect(readFileSync(join(place, 'report.md'), 'utf8')).toContain('| magnitude 50 % | 1,024 tokens |')
    const { stdout: shown } = await run(place, 'report', 'report.json')
    expect(shown).toMatch(row)
  })

  test('with --json as JSON; what is there already, gains nothing or makes no sense is refused', async () => {
    const place = await workplace()
    await run(place, 'prune', DENSE, '-s', '0.3', '-o', 'out', '--method', 'magnitude', ...QUICK)
    const healing = ['heal', 'out', '--dense', DENSE, '-o', 'healed', ...LENGTHS]
    const { stdout } = await run(place, ...healing, '--json')
    expect(JSON.parse(stdout)).toMatchObject({ tokens: 1024, steps: 4, output: 'healed' })
    await refused(place, healing, { says: ['healed exists already'] })
    await refused(place, [...healing, '--overwrite', '--lr', '0', '--save-every', '0'], {
      says: ['Nothing is written'],
    })
    const usage = (args: string[], says: string) => refused(place, ['heal', 'out', ...args], { code: 2, says: [says] })
    await usage(['-o', 'new'], 'no dense model. Say what it was pruned from')
    await usage(['--dense', DENSE], 'no output. Say where the healed model goes')
    await usage(['--train', 'head'], '--train is "head"; it must be one of all, ffn, lora')
  })
})
