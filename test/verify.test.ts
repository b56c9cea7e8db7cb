// `fasp verify` and `verify`: right on what was just written, in any form; of what was damaged they say what is wrong, and where.
import { cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { type Check, verify } from '../src/node.ts'
import { fasp, QUICK, refused, run, TINY_LLAMA, workplaces } from './fasp.ts'
import { someOf } from './nightly.ts'
import { tinyOf2Layers } from './tiny.ts'

const workplace = workplaces()
const MODEL = tinyOf2Layers()
const ALL = ['files', 'shapes', 'kept', 'weights', 'logits'] as const
const named = (checks: readonly Check[], found: Check['found']) =>
  checks.filter(check => check.found === found).map(({ name }) => name)
const parsed = (path: string) => JSON.parse(readFileSync(path, 'utf8'))
const change = (path: string, changed: (value: never) => object) =>
  writeFileSync(path, JSON.stringify(changed(parsed(path) as never)))

let made: string
beforeAll(async () => {
  made = await workplace()
  await run(made, 'prune', MODEL, '-s', '0.3', '-o', 'out', '--method', 'plain', '--to', 'onnx:q8', ...QUICK)
})

describe('what was written is right', () => {
  test('in the words of the command, with an export below it', async () => {
    const { lines } = await run(made, 'verify', 'out')
    expect(lines).toHaveLength(ALL.length)
    for (const [i, name] of ALL.entries()) expect(lines[i]).toMatch(new RegExp(`^${name} +right: \\S`))
    expect(Object.keys(parsed(join(made, 'out/fasp.json')).files)).toContain('onnx/onnx/model_quantized.onnx')
  })
  const methods = [
    'best',
    'best:layout=padded',
    'plain:scope=ffn+ragged:layout=compact',
    'flap',
    'flap:layout=compact',
    'shortgpt',
  ]
  test.for(someOf(methods, method => !/best:layout|flap:layout/.test(method)))(
    'of method %s, with other threads, and its export in shapes of before',
    async method => {
      const folder = await workplace()
      const model = method === 'shortgpt' ? TINY_LLAMA : MODEL // two layers have to stay
      await run(folder, 'prune', model, '-s', '0.4', '-o', 'out', '--method', method, ...QUICK)
      await run(folder, 'export', 'out', '--to', 'padded', '-o', 'padded')
      const engine = { threads: 1, blas: 'none' }
      expect(named((await verify(join(folder, 'out'), { engine })).checks, 'right')).toEqual(ALL)
      const { checks } = await verify(join(folder, 'padded'))
      expect([named(checks, 'wrong'), named(checks, 'unchecked')]).toEqual([[], ['logits']])
    },
  )
  test('a .gguf file, as far as it says', async () => {
    await run(made, 'export', 'out', '-o', 'out.gguf', '--dtype', 'q8_0')
    const { right, checks } = await verify(join(made, 'out.gguf'))
    expect([right, named(checks, 'right')]).toEqual([true, ['shapes', 'weights']])
  })
  test('exports alone: their files', async () => {
    await run(made, 'export', 'out', '--to', 'onnx:q8', '-o', 'exported')
    const { lines } = await run(made, 'verify', 'exported')
    expect(lines[0]).toMatch(/^files +right/)
    expect(lines[1]).toBe(
      'shapes  not checked: it holds exports alone, whose files are checked; a .gguf file can be checked by itself',
    )
  })
  test('a folder of before there were hashes and logits', async () => {
    const folder = await workplace()
    cpSync(join(made, 'out'), join(folder, 'out'), { recursive: true })
    const older = ({ logits, files, ...rest }: Record<string, object>) => ({ ...rest, files: Object.keys(files) })
    change(join(folder, 'out/fasp.json'), older)
    const { lines } = await run(folder, 'verify', 'out')
    expect(lines.filter(line => line.includes('not checked'))).toEqual([
      'files   not checked: no checksums are recorded',
      'logits  not checked: none are recorded',
    ])
  })
})

describe('damage is found', () => {
  const bytesAt = (path: string, at: number, bytes: Uint8Array) => {
    const all = readFileSync(path)
    all.set(bytes, at < 0 ? all.length + at : at)
    writeFileSync(path, all)
  }
  const mark = (out: string) => join(out, 'fasp.json')
  const weights = (out: string) => join(out, 'model.safetensors')
  test.for<[string, (out: string) => void, Check['name'][], string]>([
    ['a file of text', out => writeFileSync(join(out, 'README.md'), ''), ['files'], 'README.md was changed'],
    [
      'a file of an export that is gone',
      out => rmSync(join(out, 'onnx/tokenizer.json')),
      ['files'],
      'onnx/tokenizer.json is missing',
    ],
    [
      'a file outside the folder',
      out => change(mark(out), (o: { files: object }) => ({ ...o, files: { ...o.files, '../text.txt': '' } })),
      ['files'],
      '"../text.txt" would be outside',
    ],
    ['zeros', out => bytesAt(weights(out), 2 ** 19, new Uint8Array(4096)), ['files', 'logits'], 'the logit of token'],
    [
      'a value that is none',
      out => bytesAt(weights(out), -4, Uint8Array.of(255, 255, 255, 255)),
      ['files', 'weights', 'logits'],
      'holds NaN at element',
    ],
    ['weights cut short', out => truncateSync(weights(out), 2 ** 19), ['files', 'shapes'], 'model.safetensors: '],
    [
      'another config',
      out => change(join(out, 'config.json'), (o: object) => ({ ...o, intermediate_size: 96 })),
      ['files', 'shapes'],
      'has shape',
    ],
    [
      'other indices',
      out =>
        change(mark(out), ({ layers: [first, ...rest], ...o }: { layers: { ffn: object }[] }) => ({
          ...o,
          layers: [{ ...first, ffn: { ...first.ffn, kept: [1, 2] } }, ...rest],
        })),
      ['kept'],
      '"layers[0].ffn.kept" has 2 indices',
    ],
    [
      'more logits than are recorded',
      out =>
        change(mark(out), (o: object) => ({
          ...o,
          logits: { ids: new Array(1e4).fill(0), logits: new Array(1e4).fill(0) },
        })),
      ['logits'],
      '"ids", of at most 8 tokens',
    ],
    [
      'other logits',
      out => change(mark(out), (o: { logits: { ids: [] } }) => ({ ...o, logits: { ...o.logits, ids: [9999] } })),
      ['logits'],
      '"logits" must have the lists',
    ],
  ])('%s', async ([, damage, wrong, says]) => {
    const folder = await workplace()
    const out = join(folder, 'out')
    cpSync(join(made, 'out'), out, { recursive: true })
    damage(out)
    const { right, checks } = await verify(out)
    expect([right, named(checks, 'wrong')]).toEqual([false, wrong])
    expect(checks.map(({ text }) => text).join()).toContain(says)
    const { code, stdout, stderr } = await fasp(['verify', 'out', '--json'], { folder })
    expect([code, named(JSON.parse(stdout).checks, 'wrong')]).toEqual([1, wrong])
    expect(stderr).toContain(`out: is not as it should be (${wrong.join(', ')}).`)
  })
  test('a .gguf file that is cut short', async () => {
    const folder = await workplace()
    await run(folder, 'export', MODEL, '-o', 'x.gguf')
    truncateSync(join(folder, 'x.gguf'), 100_000)
    expect(named((await verify(join(folder, 'x.gguf'))).checks, 'wrong')).toEqual(['shapes'])
  })
})

test('what fasp did not write is refused', async () => {
  const folder = await workplace({ 'mine/config.json': '{}', 'broken/fasp.json': '{' })
  await refused(folder, ['verify', 'mine'], { says: ['mine: has no fasp.json, which says what was written.'] })
  await refused(folder, ['verify', 'nowhere'], { says: ['nowhere: there is no such file or folder.'] })
  await refused(folder, ['verify', 'broken'], { says: ['fasp.json: the file is not JSON'] })
})
