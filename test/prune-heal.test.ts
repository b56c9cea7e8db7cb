// `--heal` of `fasp prune`, and `heal` of `prune`: what pruning and healing give one after the other, in one output, exported, gone on with,
// planned; and nothing where healing gains nothing.
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import {
  heal,
  inspect,
  logits,
  MemorySink,
  openModel,
  type ProgressEvent,
  type PrunePathOptions,
  planPrune,
  prune,
  verify,
} from '../src/node.ts'
import { QUICK, refused, run, snapshot, workplaces } from './fasp.ts'
import { nightly, someOf } from './nightly.ts'
import { engineAndFolder } from './opened.ts'
import { asWindows, goldenOf, tinyOf2Layers } from './tiny.ts'

const MIXTURE = fileURLToPath(new URL('fixtures/trained/tiny-mixture', import.meta.url))

const { engine, folder } = engineAndFolder()
const workplace = workplaces()
const DENSE = tinyOf2Layers()
const at = (name: string) => join(folder, name)
const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'))

/** Windows of 64 tokens: 24 to heal on, 3 to measure on. */
const WINDOWS = (() => {
  const rows: number[][] = goldenOf('tiny-llama').calibration_windows
  const all = rows.flatMap(row => [0, 64, 128, 192].map(from => row.slice(from, from + 64)))
  const { windows, ...others } = asWindows(all.slice(0, 27))
  const texts = [{ name: 'golden', tokens: 27 * 64, available: 27, used: 24, heldOut: 3 }]
  return { ...others, windows: windows.slice(0, 24), heldOut: windows.slice(24), texts }
})()
/** One step. */
const TOKENS = 2048
const SOME = { sparsity: 0.3, method: 'magnitude', calibration: WINDOWS, engine } as const
const pruned = (output: string, options: Partial<PrunePathOptions> = {}, from = DENSE) =>
  prune(from, { ...SOME, output, heal: TOKENS, ...options })
const weights = (name: string) => readFileSync(join(at(name), 'model.safetensors'))
const hidden = () => readdirSync(folder).filter(name => name.startsWith('.'))

const LAYOUTS = [
  ['stock', 'stock'],
  ['padded', 'magnitude'],
  ['compact', 'flap:layout=compact'],
]
describe.each(someOf(LAYOUTS, ([layout]) => layout === 'padded'))('layout %s', (layout, method) => {
  test('it is what healing makes of what pruning makes, to the byte', async () => {
    const { healed, output } = await pruned(at(layout), { method })
    await prune(DENSE, { ...SOME, method, output: at(`${layout} pruned`) })
    const after = { dense: DENSE, calibration: WINDOWS, tokens: TOKENS, engine }
    const alone = await heal(at(`${layout} pruned`), { ...after, output: at(`${layout} healed`) })
    expect(Buffer.compare(weights(layout), weights(`${layout} healed`))).toBe(0)
    expect((await readdir(at(layout))).sort()).toEqual((await readdir(at(`${layout} healed`))).sort())
    expect(json(join(at(layout), 'config.json'))).toEqual(json(join(at(`${layout} healed`), 'config.json')))
    const { output: _, seconds, cacheBytes, ...record } = alone
    expect(healed).toEqual(record)
    expect(json(join(at(layout), 'fasp.json')).healed).toEqual(record)
    expect(record.kl.after).toBeLessThan(record.kl.before)
    const { checks } = await verify(output!, { engine })
    expect(checks.filter(({ found }) => found !== 'right')).toEqual([])
    expect(hidden()).toEqual([])
  })
})

const HOW = [
  ['ffn', { train: 'ffn', lr: 3e-4 }],
  ['lora', { rank: 4 }],
  ['all', { top: 0 }],
] as const
test.each(someOf(HOW, () => false))('what is trained, and how, is as heal has it: %s', async (name, how) => {
  const { healed } = await pruned(at(name), { heal: { tokens: TOKENS, ...how } })
  await prune(DENSE, { ...SOME, output: at(`${name} pruned`) })
  const after = { dense: DENSE, calibration: WINDOWS, tokens: TOKENS, engine, ...how }
  const alone = await heal(at(`${name} pruned`), { ...after, output: at(`${name} healed`) })
  expect(Buffer.compare(weights(name), weights(`${name} healed`))).toBe(0)
  expect(healed).toMatchObject({ train: name, ...how, curve: alone.curve })
  expect(json(at(`${name}/fasp.json`)).asked.heal).toEqual({ tokens: TOKENS, ...how })
})

nightly('exports and texts are of the healed model, and all say so', { timeout: 180_000 }, async () => {
  const options = { text: [{ name: 'a text', text: async () => 'It was a dark night. '.repeat(99) }], seqLen: 64 }
  const { exports, perplexities } = await pruned(at('exported'), {
    ...options,
    to: [{ to: 'gguf', dtype: 'F32' }, { to: 'huggingface' }],
  })
  await using folder = await openModel(at('exported'))
  await using file = await openModel(exports[0].path)
  const { tensors } = folder.checkpoint.tensors
  for (const name of [...tensors.keys()].filter(one => one.includes('mlp.up_proj')))
    expect(await file.checkpoint.tensors.float32(name)).toEqual(await folder.checkpoint.tensors.float32(name))
  expect(readFileSync(join(exports[1].path, 'model.safetensors'))).toEqual(weights('exported'))
  for (const of of [folder, file]) expect((await inspect(of)).pruned?.healed).toBe(TOKENS)
  const card = readFileSync(at('exported/README.md'), 'utf8')
  expect(card).toContain('# tiny-llama, pruned and healed')
  expect(card).toContain(`| ${perplexities.pruned![0].perplexity.toFixed(2)} |`)
  expect(card).toContain(`| | dense | healed, ${TOKENS.toLocaleString('en')} tokens | change |`)
  expect(card).not.toContain('held out,')
})

const mixtures = ['plain:repair=none', 'stock:scope=experts']
test.each(someOf(mixtures, () => false))('a mixture of experts, by %s', async method => {
  const output = at(`mixture ${method.length}`)
  const { healed } = await pruned(output, { method, heal: { tokens: TOKENS, lr: 3e-4 } }, MIXTURE)
  expect(healed!.kl.after).toBeLessThan(healed!.kl.before)
  const { checks } = await verify(output, { engine })
  expect(checks.filter(({ found }) => found !== 'right')).toEqual([])
  await using before = await openModel(MIXTURE)
  await using after = await openModel(output)
  const { tensors } = after.checkpoint.tensors
  for (const name of [...tensors.keys()].filter(one => one.endsWith('.gate.weight'))) {
    const [was, is] = [await before.checkpoint.tensors.float32(name), await after.checkpoint.tensors.float32(name)]
    if (is.length === was.length) expect(is).toEqual(was)
  }
  const found = await logits(after, engine, WINDOWS.heldOut[0])
  expect(found.every(Number.isFinite)).toBe(true)
})

test('what pruning cost before it was healed is no reason to offer that', async () => {
  const text = { name: 'a text', text: async () => 'It was a dark night, and the girl was not afraid. '.repeat(99) }
  const options = { sparsity: 0.5, calibration: [text], windows: 16, seqLen: 64, heldOut: 4 }
  const { notices } = await prune(DENSE, { ...SOME, ...options, output: at('not healed') })
  expect(notices).toContainEqual(expect.stringMatching(/^Pruning cost .* healing \(fasp heal\)/))
  const healed = await pruned(at('no notice'), options)
  expect(healed.notices).toEqual(notices.filter(message => !message.startsWith('Pruning cost')))
})

nightly('from a GGUF file to one, with a smaller vocabulary, rounded to blocks', async () => {
  await prune(DENSE, { ...SOME, sparsity: 0, output: at('source.gguf') })
  const texts = [{ name: 'a text', text: async () => 'It was a dark night, and the girl was not afraid. '.repeat(99) }]
  const options = { calibration: texts, seqLen: 32, vocabulary: { keep: texts }, dtype: 'Q8_0' }
  await pruned(at('small.gguf'), options, at('source.gguf'))
  const { pruned: made, vocabularySize, dtypes } = await inspect(at('small.gguf'))
  expect(made?.healed).toBe(TOKENS)
  expect(vocabularySize).toBeLessThan(1024)
  expect(dtypes.Q8_0).toBeGreaterThan(0)
  expect(hidden()).toEqual([])
})

test('on text that the model writes: the windows that it was calibrated on, again and again', async () => {
  const { healed } = await pruned(at('own'), { calibration: undefined, windows: 8, seqLen: 64, heldOut: 4 })
  expect(healed!.tokens).toBeGreaterThan(8 * 64)
  const { source, seqLen, texts } = healed!.calibration
  expect([source, seqLen]).toEqual(['self', 64])
  expect(texts.map(({ used, heldOut }) => [used, heldOut])).toEqual([[8, 4]])
})

class Stopped extends Error {}

nightly('stopped while it prunes, heals or writes, it goes on to the same bytes', { timeout: 180_000 }, async () => {
  const texts = [{ name: 'a text', text: async () => 'It was a dark night. '.repeat(200), sha256: 'x' }]
  const options = {
    calibration: texts,
    windows: 8,
    seqLen: 64,
    to: [{ to: 'gguf' }] as const,
    saveEvery: 0,
    heal: 2 * TOKENS,
  }
  const until = async (output: string, stop: (events: readonly ProgressEvent[]) => boolean, resume = false) => {
    const events: ProgressEvent[] = []
    const onEvent = (event: ProgressEvent) => {
      events.push(event)
      if (stop(events)) throw new Stopped()
    }
    await pruned(at(output), { ...options, resume, onEvent } as Partial<PrunePathOptions>).catch(error => {
      if (!(error instanceof Stopped)) throw error
    })
    return events
  }
  await until('whole', () => false)
  const contents = (name: string) => snapshot(at(name)).then(lines => lines.map(line => line.slice(at(name).length)))
  const done = (phase: string, from: number) => (events: readonly ProgressEvent[]) => {
    const last = events.findLast(({ type }) => type === 'phase')
    const event = events.at(-1)!
    return last?.type === 'phase' && last.phase === phase && event.type === 'progress' && event.done >= from
  }
  await until('other', done('heal', 1))
  for (const [how, says] of [
    [{ tokens: TOKENS, lr: 2e-4 }, /holds the state of another run: heal is .*, there 4096/],
    [{ tokens: TOKENS, rank: 4 }, /holds the state of another run: heal is .*, there 4096/],
  ] as const)
    await expect(pruned(at('other'), { ...options, heal: how, resume: true })).rejects.toThrow(says)
  await until('other', () => false, true)
  const places = [
    ['prune', 2, /^Goes on after ffn 1/],
    ['heal', 1, /^Goes on after (pruned|step 1)/],
    ['export', 1, /^Goes on after step 2/],
  ] as const
  for (const [i, [phase, from, says]] of someOf(places, ([phase]) => phase === 'export').entries()) {
    const output = `stopped ${i}`
    await until(output, done(phase, from))
    expect(readdirSync(folder).filter(name => name.endsWith('.partial'))).toHaveLength(1)
    const told = (await until(output, () => false, true)).flatMap(one => (one.type === 'notice' ? one.message : []))
    expect(told).toContainEqual(expect.stringMatching(says))
    expect(await contents(output)).toEqual(await contents('whole'))
    expect(hidden()).toEqual([])
  }
})

test('a plan says what healing takes, without weights', async () => {
  const plan = await planPrune(DENSE, { sparsity: 0.3, heal: true, seqLen: 64 })
  const long = await planPrune(DENSE, { sparsity: 0.3, heal: 5e6, calibration: ['text.txt'] })
  expect(plan.healing).toMatchObject({ tokens: 65536 })
  expect(plan.healing!.memoryBytes).toBeGreaterThan(5e8)
  expect(plan.healing!.diskBytes).toBeGreaterThanOrEqual(plan.sizes.weightBytes.after)
  expect(long.healing!.diskBytes).toBeGreaterThan(1e10) // probabilities beyond the budget
  const lora = await planPrune(DENSE, { sparsity: 0.3, heal: { train: 'lora' }, seqLen: 64 })
  expect(lora.healing!.tokens).toBe(65536)
  expect(lora.healing!.memoryBytes).toBeLessThan(plan.healing!.memoryBytes)
  expect(await planPrune(DENSE, { sparsity: 0.3, heal: false })).not.toHaveProperty('healing.tokens')
})

describe('nothing is written', () => {
  const cases: Record<string, [Partial<PrunePathOptions>, RegExp]> = {
    'where nothing is gained': [
      { sparsity: 0, saveEvery: 0 },
      /healing did not bring it nearer to the dense model: .* Leave out heal/,
    ],
    'for no tokens': [{ heal: 0 }, /^heal is 0; it must be an integer from 1/],
    'for half a token': [{ heal: 0.5 }, /^heal is 0\.5; it must be an integer/],
    'at a rate below 0': [{ heal: { lr: -1 } }, /^lr is -1; it must be a number from 0 to 1/],
    'with a rank of all weights': [{ heal: { train: 'all', rank: 8 } }, /^rank is of low-rank updates/],
    'of layers that are none': [{ heal: { train: 'head' as 'all' } }, /^train is "head"; it must be one of all, ffn/],
    'with an option that is none': [{ heal: { steps: 3 } as object }, /^unknown option steps\. heal takes tokens, lr/],
    'with words for a rate': [{ heal: { lr: 'low' } as object }, /^lr is "low"; it must be a number/],
    'with statistics of another model': [{ keepStatistics: true }, /statistics are of the model before it is healed/],
    'where no window is held out': [{ calibration: { ...WINDOWS, heldOut: [] } }, /no window is left to measure on/],
    'where the model holds none out': [{ calibration: undefined, method: 'paper' }, /no window is left to measure on/],
  }
  test.each(Object.entries(cases))('%s', async (_, [options, says]) => {
    mkdirSync(at('nothing'), { recursive: true })
    await expect(pruned(at('nothing/never'), options)).rejects.toThrow(says)
    expect(readdirSync(at('nothing'))).toEqual([])
  })

  test('into a sink', async () => {
    const into = prune(DENSE, { ...SOME, heal: TOKENS, output: new MemorySink() })
    await expect(into).rejects.toThrow(/a sink takes no exports .* nor healing/)
  })
})

describe('the command', () => {
  const args = ['prune', DENSE, '-s', '0.3', '--method', 'magnitude', '--threads', '1', ...QUICK]

  test('says how it was healed, shows the curve, and what it takes before', async () => {
    const place = await workplace()
    const { stdout: plan } = await run(place, ...args, '--heal', '2048', '--dry-run')
    expect(plan).toMatch(/^Healing on 2,048 tokens then takes \S+ MB of memory, and \S+ MB of disk/m)
    const report = ['--report', 'report.json', '--report', 'report.md', '--text', 'text.txt', '--text-windows', '2']
    const { stdout, lines } = await run(place, ...args, '--heal', '2048', '-o', 'out', ...report)
    expect(stdout.replaceAll('\n', ' ')).toMatch(/healed on 2,048 tokens \(KL to the dense model \d\.\d+ → \d\.\d+\)/)
    expect(lines).toContainEqual(expect.stringMatching(/^1 +\d\.\d{4} +kept$/))
    expect(stdout).toContain('before healing')
    expect(stdout).toMatch(/heal \d/)
    expect(stdout).toMatch(/^model +healed +perplexity .*\ndense +– .*\nmagnitude 30 % +2,048 tokens /m)
    expect(json(join(place, 'report.json')).runs[1]).toMatchObject({
      healed: 2048,
      prune: { healed: { tokens: 2048 } },
    })
    expect(readFileSync(join(place, 'report.md'), 'utf8')).toContain('| magnitude 30 % | 2,048 tokens |')
  })

  nightly('of several sizes each is healed; without a number on as many tokens as heal takes', async () => {
    const place = await workplace()
    const { stdout } = await run(place, ...args, '-s', '0.3,0.4', '--heal=2048', '-o', 'out', '--json')
    expect(JSON.parse(stdout).map((one: { healed: { tokens: number } }) => one.healed.tokens)).toEqual([2048, 2048])
    const { stdout: plan } = await run(place, 'prune', '--heal', ...args.slice(1), '--dry-run', '--json')
    expect(JSON.parse(plan).healing.tokens).toBe(65536)
    await refused(place, [...args, '-o', 'new', '--heal', 'many'], { code: 2, says: ['many'] })
    await refused(place, [...args, '-o', 'new', '--heal=many'], {
      code: 2,
      says: ['--heal is "many"; it must be an integer'],
    })
  })

  test('trains what it is told to; without healing that is refused', async () => {
    const place = await workplace()
    const settings = {
      sparsity: 0.3,
      method: 'magnitude',
      calibration: [join(place, 'text.txt')],
      windows: 4,
      seqLen: 32,
    }
    const how = { train: 'lora', rank: 4, lr: 2e-3, top: 0 } as const
    const told: string[] = []
    const onEvent = (event: ProgressEvent) => void (event.type === 'notice' && told.push(event.message))
    const output = join(place, 'out')
    const { healed } = await prune(DENSE, { ...settings, heal: { tokens: 2048, ...how }, output, onEvent })
    expect(healed).toMatchObject({ tokens: 2048, ...how })
    expect(told.join('\n')).toMatch(/^The dense model's last hidden states take \S+ \wB/m)
    await refused(place, [...args, '-o', 'new', '--lr', '1e-3'], {
      code: 2,
      says: ['--lr is of healing. Give --heal, too'],
    })
    const wrong = (heal: object) => prune(DENSE, { ...settings, heal, output: join(place, 'new') })
    await expect(wrong({ train: 'head' })).rejects.toThrow('train is "head"; it must be one of all, ffn, lora')
    await expect(wrong({ train: 'ffn', rank: 4 })).rejects.toThrow('rank is of low-rank updates, and train is "ffn"')
  })
})
