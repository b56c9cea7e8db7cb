// `--recipe`: a result is made again from its `fasp.json`, to the same bytes; on another model, or otherwise, what differs is told first.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { MemorySink, planPrune, prune } from '../src/node.ts'
import { fasp, QUICK, refused, run, snapshot, TEXT, workplaces } from './fasp.ts'
import { nightly, someOf } from './nightly.ts'
import { TINY_OPT, tinyOf2Layers } from './tiny.ts'

const workplace = workplaces()
const MODEL = tinyOf2Layers()
type Json = Record<string, never>
const change = (path: string, changed: (value: Json) => object) =>
  writeFileSync(path, JSON.stringify(changed(JSON.parse(readFileSync(path, 'utf8')))))
const unlike = (stderr: string) => stderr.split('\n').filter(line => line.startsWith('Unlike '))

describe('the same again', () => {
  const all: [of: string, args: string[]][] = [
    [
      'text that the model writes',
      ['--size', '0.9MB', '--method', 'plain', '--seed', '3', '--windows', '4', '--seq-len', '32'],
    ],
    [
      'a text beside what the model writes',
      [
        '-s',
        '0.3',
        '--method',
        'plain',
        '--calibration',
        'text.txt',
        '--calibration',
        'self',
        '--windows',
        '4',
        '--seq-len',
        '32',
      ],
    ],
    [
      'texts, a smaller vocabulary, exports, texts to measure on, and statistics',
      [
        ...['-s', '0.3', '--method', 'plain:layout=compact', ...QUICK, '--calibration', 'more.txt', '--dtype', 'f16'],
        ...['--vocabulary', 'text.txt', '--vocabulary-size', '600', '--to', 'onnx:q8', '--to', 'gguf'],
        ...['--text', 'more.txt', '--text-windows', '2', '--keep-statistics', '--held-out', '3'],
      ],
    ],
    ['a healed model', ['-s', '0.3', '--method', 'magnitude', ...QUICK, '--heal', '2048', '--lr', '2e-3']],
    [
      'a bound on the loss',
      ['--max-loss', '0.2', '--method', 'plain', '--windows', '4', '--seq-len', '32', '--held-out', '8'],
    ],
  ]
  const some = someOf(all, ([of]) => !/beside/.test(of))
  test.for(some)('%s', async ([, args]) => {
    const folder = await workplace({ 'more.txt': TEXT.toUpperCase() })
    await run(folder, 'prune', MODEL, '-o', 'out', ...args)
    mkdirSync(join(folder, 'again'))
    const { stderr } = await run(folder, 'prune', MODEL, '--recipe', 'out', '-o', 'again/out')
    expect(unlike(stderr)).toEqual([])
    const contents = async (output: string) =>
      (await snapshot(join(folder, output))).map(line => line.slice(join(folder, output).length))
    expect(await contents('again/out')).toEqual(await contents('out'))
  })
})

describe('otherwise', () => {
  let made: string
  const args = ['-s', '0.3', '--method', 'plain', ...QUICK, '--to', 'onnx:q8']
  beforeAll(async () => {
    made = await workplace()
    await run(made, 'prune', MODEL, '-o', 'out', ...args)
  })
  /** A folder with `text.txt` and the changed recipe alone. */
  const recipe = async (changed: (value: Json) => object, files = {}) => {
    const folder = await workplace({ 'fasp.json': readFileSync(join(made, 'out/fasp.json')), ...files })
    change(join(folder, 'fasp.json'), changed)
    return folder
  }
  const again = ['prune', MODEL, '--recipe', 'fasp.json', '-o', 'again']
  const same = (value: Json) => value

  test('on another model, with options that win', async () => {
    const told = ['Unlike out/fasp.json: sparsity 0.2 (there 0.3).', 'Unlike out/fasp.json: seq-len 64 (there 32).']
    const more = ['--recipe', 'out', '-s', '0.2', '--seq-len', '64', '--windows', '4']
    const { stderr } = await run(made, 'prune', TINY_OPT, '-o', 'other', ...more)
    expect(stderr.split('\n').slice(0, 2)).toEqual(told)
    expect(unlike(stderr)).toEqual([...told, 'Unlike out/fasp.json: the model tiny-opt (there tiny-llama).'])
    const { options, calibration } = JSON.parse(readFileSync(join(made, 'other/fasp.json'), 'utf8'))
    expect(options).toMatchObject({ sparsity: 0.2, seqLen: 64, windows: 4, method: 'plain' })
    expect(calibration.texts[0].name).toBe('text.txt')
    const plan = await run(made, 'prune', TINY_OPT, '--dry-run', ...more)
    expect(unlike(plan.stderr)).toEqual(unlike(stderr))
    expect(plan.stdout).toContain('Asked 20 % of the decoder linears')
  })
  test('another amount is instead of that of the recipe', async () => {
    const { stdout, stderr } = await run(made, 'prune', MODEL, '--recipe', 'out', '--size', '1MB', '--dry-run')
    expect(unlike(stderr)).toEqual(['Unlike out/fasp.json: size 1000000 (there none).'])
    expect(stdout).toContain('Asked 1.0 MB')
  })
  test('a recipe of another version, other contents of a text, and of the model', async () => {
    const folder = await recipe(({ source, ...rest }) => ({
      ...{ ...rest, fasp: '0.0.9' },
      source: { ...(source as object), sha256: '0' },
    }))
    writeFileSync(join(folder, 'text.txt'), TEXT.toUpperCase())
    const { stderr } = await run(folder, ...again)
    expect(unlike(stderr)).toEqual([
      'Unlike fasp.json: fasp 0.1.0 (there 0.0.9), and the result may differ.',
      'Unlike fasp.json: text.txt has other contents.',
      'Unlike fasp.json: the model tiny-llama has other files.',
    ])
  })
  test('where the output is no folder, without exports', async () => {
    const { output } = await prune(MODEL, {
      recipe: join(made, 'out'),
      calibration: [join(made, 'text.txt')],
      output: join(made, 'x.gguf'),
    })
    expect(output).toContain('x.gguf')
    const sink = new MemorySink()
    await prune(MODEL, { recipe: join(made, 'out'), calibration: [join(made, 'text.txt')], output: sink })
    expect([...sink.files.keys()].filter(name => name.includes('onnx'))).toEqual([])
    const { exports } = await planPrune(MODEL, { recipe: join(made, 'out') })
    expect(exports.map(({ to }) => to)).toEqual(['onnx'])
  })
  test('an earlier one, which names no texts', async () => {
    const folder = await recipe(({ asked, ...rest }) => rest)
    await refused(folder, again, { code: 2, says: ['fasp.json does not name what it was calibrated on. Say on what'] })
    await run(folder, ...again, '--calibration', 'text.txt')
  })
  test.for<[string, (value: Json) => object, string]>([
    ['of another schema', value => ({ ...value, schema: 2 }), 'fasp.json: schema is 2; this version of fasp reads 1.'],
    [
      'of an export',
      ({ options, ...rest }) => rest,
      'fasp.json: does not say how a model was pruned. Give the fasp.json',
    ],
    [
      'with an option of another type',
      ({ options, ...rest }) => ({ ...rest, options: { ...(options as object), windows: 'many' } }),
      'fasp.json: windows is "many"; it must be a number.',
    ],
    [
      'with texts that are none',
      ({ asked, ...rest }) => ({ ...rest, asked: { calibration: [7] } }),
      'fasp.json: "asked" has texts or exports in a form that fasp does not write.',
    ],
  ])('one that is mangled: %s', async ([, changed, says]) => {
    await refused(await recipe(changed), again, { says: [says] })
  })
  test('codes in it that steer a terminal are shown inert', async () => {
    const folder = await recipe(({ source, ...rest }) => ({
      ...rest,
      fasp: '\u001b[2J\u009b2J',
      source: { name: '\u001b[2J' },
    }))
    const { stderr } = await run(folder, ...again, '--dry-run') // looks for codes
    expect(unlike(stderr)).toHaveLength(2)
  })
  test('that of what fasp heal has healed, which is not done again', async () => {
    const folder = await recipe(value => ({ ...value, healed: { tokens: 2048 } }))
    const { stderr } = await run(folder, ...again, '--dry-run')
    expect(unlike(stderr)).toEqual([
      'Unlike fasp.json: not healed (there on 2048 tokens, by fasp heal, which can do it again).',
    ])
  })
  test('what is none', async () => {
    const folder = await recipe(same, { 'broken.json': '{' })
    const by = (path: string) => ['prune', MODEL, '--recipe', path, '-o', 'again']
    await refused(folder, by('broken.json'), { says: ['broken.json: the file is not JSON'] })
    await refused(folder, by('nowhere'), { says: ['nowhere: no such file'] })
    await refused(folder, by('x.gguf'), { says: ['x.gguf: is a .gguf file, which holds no recipe.'] })
  })
  test('a text that is gone', async () => {
    const folder = await recipe(same)
    rmSync(join(folder, 'text.txt'))
    const { code, stderr } = await fasp(again, { folder })
    expect([code, stderr]).toEqual([1, expect.stringContaining('text.txt: no such file')])
  })
})

nightly('a recipe of what fasp heal has healed, which is not done again', { timeout: 180_000 }, async () => {
  const folder = await workplace()
  await run(folder, 'prune', MODEL, '-o', 'out', '-s', '0.3', '--method', 'magnitude', ...QUICK)
  const heal = ['heal', 'out', '--dense', MODEL, '-o', 'healed', '--tokens', '2048', '--windows', '48']
  await run(folder, ...heal, '--calibration', 'text.txt', '--seq-len', '32')
  const { tokens } = JSON.parse(readFileSync(join(folder, 'healed/fasp.json'), 'utf8')).healed
  const { stderr } = await run(folder, 'prune', MODEL, '--recipe', 'healed', '-o', 'again')
  expect(unlike(stderr)).toEqual([
    `Unlike healed/fasp.json: not healed (there on ${tokens} tokens, by fasp heal, which can do it again).`,
  ])
})
