// Files made to exhaust whoever reads them: reading takes at most 64 MB and four times the file, and waits for nobody.
import { execFile, execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { cp, mkdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'
import { concatBytes } from '../src/base/bytes.ts'
import { finish } from '../src/base/events.ts'
import { loadTasks } from '../src/hub/tasks.node.ts'
import { openCheckpoint, readResult } from '../src/node.ts'
import { checkOutput } from '../src/output/place.node.ts'
import { checkTextFile } from '../src/output/text-file.node.ts'
import { readText } from '../src/text/text.node.ts'
import { TINY_LLAMA, workplaces } from './fasp.ts'
import { buildGguf } from './gguf-builder.ts'
import { someOf } from './nightly.ts'
import { op, pickle, torchFile, zipFile } from './torch-file.ts'

const workplace = workplaces()
const utf8 = (text: string) => new TextEncoder().encode(text)
const times = (count: number, bytes: Uint8Array) => concatBytes(new Array(count).fill(bytes))

describe.skipIf(process.platform === 'win32')(
  'a pipe',
  () => {
    async function pipeAt(path: string): Promise<string> {
      await rm(path, { force: true })
      execFileSync('mkfifo', [path])
      return path
    }
    const NO_FILE = 'is no regular file'

    test.each([
      ...['config.json', 'tokenizer.json', 'tokenizer_config.json', 'model.safetensors', 'fasp.json', 'README.md'],
      ...['LICENSE', 'generation_config.json', 'chat_template.jinja'],
    ])('as %s of a model', async name => {
      const folder = await workplace()
      await cp(TINY_LLAMA, join(folder, 'm'), { recursive: true })
      await pipeAt(join(folder, 'm', name))
      await expect(openCheckpoint(join(folder, 'm'))).rejects.toThrow(`${name}: ${NO_FILE}`)
    })

    test('as any other input, or in the place of an output', async () => {
      const folder = await workplace()
      const pipe = (name: string) => pipeAt(join(folder, name))
      await expect(openCheckpoint(await pipe('x.gguf'))).rejects.toThrow(NO_FILE)
      for (const name of ['a.txt', 'a.txt.gz', 'a.jsonl', 'a.parquet'])
        await expect(readText(await pipe(name))).rejects.toThrow(NO_FILE)
      await pipe('boolq.jsonl')
      await expect(finish(loadTasks(['boolq'], { data: [folder] }))).rejects.toThrow(NO_FILE)
      await expect(readResult(await pipe('r.json'))).rejects.toThrow(NO_FILE)
      await expect(checkOutput(await pipe('out.gguf'), true)).rejects.toThrow(NO_FILE)
      await expect(checkTextFile(await pipe('out.json'), true)).rejects.toThrow(NO_FILE)
    })
  },
  10_000,
)

const CHILD = `
import { readFileSync } from 'node:fs'
const { openCheckpoint, readResult, readText } = await import(${JSON.stringify(new URL('../dist/node.js', import.meta.url).href)})
const [kind, path] = process.argv.slice(1)
const read = { model: openCheckpoint, result: readResult, text: readText }[kind]
const said = await read(path).then(() => 'read', error => error.name + ' ' + error.message)
// maxRSS counts what the parent had when it forked.
const peak = /^VmHWM:\\s*(\\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]
console.log(JSON.stringify({ said, bytes: peak * 1024 }))
`
type Kind = 'model' | 'result' | 'text'

/** What reading a file says, and the memory that the process took at most. */
async function readInChild(kind: Kind, path: string): Promise<{ said: string; bytes: number }> {
  const child = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', CHILD, kind, path])
  return JSON.parse(child.stdout)
}

const safetensors = (header: string): Uint8Array => {
  const bytes = new Uint8Array(8 + header.length)
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true)
  return concatBytes([bytes.subarray(0, 8), utf8(header)])
}
const list = (count: number, item: string) => `{"x":[${new Array(count).fill(item)}]}`
const tensors = (count: number) =>
  Array.from({ length: count }, (_, i) => `"t${i}":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`)
/** A list of so many thousand values. */
const pickled = (thousands: number, value: Uint8Array) =>
  pickle(op.byte(0x5d), times(thousands, concatBytes([op.mark, times(1000, value), op.byte(0x65)])))
const named = (count: number, value: Uint8Array) =>
  concatBytes(Array.from({ length: count }, (_, i) => concatBytes([op.mark, op.text(`${i}`), value, op.setItems])))
/** A GGUF array of type `of`. */
function ggufArray(of: number, count: number, item: Uint8Array): Uint8Array {
  const start = new DataView(new ArrayBuffer(12))
  start.setUint32(0, of, true)
  start.setBigUint64(4, BigInt(count), true)
  return buildGguf({
    metadata: [
      ['a', { type: 'raw', number: 9, bytes: concatBytes([new Uint8Array(start.buffer), times(count, item)]) }],
    ],
  })
}
/** A parquet file whose list of columns claims 18 million. */
function parquetOfLongList(): Uint8Array {
  const whole = readFileSync(new URL('fixtures/text/no-text.parquet', import.meta.url))
  const start = whole.length - 8 - whole.readUInt32LE(whole.length - 8)
  const head = whole.indexOf(0x19, start) + 1 // of the first list, a field of type 9: count and type
  const count = [0xf0 | (whole[head] & 15), 0x80, 0xd1, 0xca, 0x08]
  const file = Buffer.concat([whole.subarray(0, head), Buffer.of(...count), whole.subarray(head + 1)])
  file.writeUInt32LE(file.length - 8 - start, file.length - 8)
  return file
}
const empty = { name: '', shape: [1], type: 0, bytes: new Uint8Array(4) }

describe('memory', () => {
  let folder: string
  let baseline: number
  beforeAll(async () => {
    folder = await workplace()
    baseline = (await readInChild('text', join(folder, 'text.txt'))).bytes
  })

  const model = (name: string, bytes: () => Uint8Array, says: string) => ['model', name, bytes, says] as const
  const files: readonly (readonly [Kind, string, () => Uint8Array, string])[] = [
    model('model.safetensors', () => safetensors(`{"x":${'['.repeat(31e6)}`), 'nested 31000001 deep'),
    model('model.safetensors', () => safetensors(list(1e7, '{}')), 'too many'),
    model('model.safetensors', () => safetensors(list(1e7, '[]')), 'too many'),
    model('model.safetensors', () => safetensors(list(2.7e5, '{}')), 'has no {dtype'),
    model('model.safetensors', () => safetensors(`{${tensors(45_000)}}`), 'read'),
    model(
      'pytorch_model.bin',
      () => zipFile([{ name: 'm/data.pkl', data: times(4e6, op.emptyDict), deflated: true }]),
      'is compressed',
    ),
    model('pytorch_model.bin', () => torchFile(pickled(3900, op.emptyDict)), 'more than 200000 values'),
    model('pytorch_model.bin', () => torchFile(pickled(199, op.emptyDict)), 'no dict of tensors'),
    model(
      'pytorch_model.bin',
      () => {
        const inner = concatBytes([op.emptyDict, named(5e4, op.no), op.byte(0x71, 0)])
        return torchFile(pickle(op.emptyDict, op.mark, op.text('x'), inner, op.setItems, named(4e4, op.byte(0x68, 0))))
      },
      '0 dicts of tensors',
    ),
    model('x.gguf', () => ggufArray(0, 2 ** 24, Uint8Array.of(1)), 'are allowed in all arrays'),
    model('x.gguf', () => ggufArray(0, 2e6, Uint8Array.of(1)), 'general.architecture'),
    model('x.gguf', () => ggufArray(8, 2e6, new Uint8Array(8)), 'general.architecture'),
    model('x.gguf', () => ggufArray(9, 2e5, new Uint8Array(12)), 'general.architecture'),
    model(
      'x.gguf',
      () => buildGguf({ tensors: Array.from({ length: 45_000 }, (_, i) => ({ ...empty, name: `${i}` })) }),
      'general.architecture',
    ),
    model('config.json', () => utf8(list(5e6, '{}')), 'too many'),
    model('config.json', () => utf8(list(4.4e5, '{}')), 'model_type undefined is not supported'),
    ['result', 'r.json', () => utf8(list(5e6, '{}')), 'too many'],
    ['text', 'a.jsonl', () => utf8(`${list(5e6, '{}')}\n`), 'too many'],
    ['text', 'a.parquet', parquetOfLongList, 'a list of 18000000 in'],
    ['text', 'a.txt', () => utf8('some words\n'.repeat(3e6)), 'read'],
  ]
  /** One of each format and kind of values. */
  const stands = [
    'has no {dtype',
    'no dict of tensors',
    'are allowed in all arrays',
    'model_type undefined is not supported',
    'a list of 18000000 in',
  ]
  test.for(someOf(files, ([, , , says]) => stands.includes(says)))(
    '%#: %s %s',
    { timeout: 60_000 },
    async ([kind, name, make, says], { task }) => {
      const place = join(folder, task.id)
      await mkdir(place)
      const isFolder = kind === 'model' && !name.endsWith('.gguf')
      if (isFolder) await cp(TINY_LLAMA, place, { recursive: true })
      if (name.endsWith('.bin')) await rm(join(place, 'model.safetensors'))
      await writeFile(join(place, name), make())
      const { said, bytes } = await readInChild(kind, isFolder ? place : join(place, name))
      expect(said).toContain(says)
      const { size } = await stat(join(place, name))
      expect((bytes - baseline) / 2 ** 20).toBeLessThan(64 + (4 * size) / 2 ** 20)
    },
  )
})
