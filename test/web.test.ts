// Models as a page has them: picked files, Blobs and addresses. What they give is what the same files give at paths.
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as ort from 'onnxruntime-web'
import { afterAll, describe, expect, test } from 'vitest'
import * as node from '../src/node.ts'
import {
  createEngine,
  evaluate,
  exportGguf,
  generate,
  inspect,
  logits,
  MemorySink,
  openModel,
  type ProgressEvent,
  type PruneInPageOptions,
  perplexity,
  plain,
  prepare,
  prune,
  type Scratch,
  type Sink,
  type StateFolder,
} from '../src/web.ts'
import { TEXT, TINY_LLAMA } from './fasp.ts'
import { hubPlace, TINY_FILES } from './hub.ts'
import { expectNear, TOLERANCE } from './near.ts'
import { someOf } from './nightly.ts'

const { server } = hubPlace()
const engine = node.openEngine()
const folder = mkdtempSync(join(tmpdir(), 'fasp-web-'))
afterAll(async () => {
  await engine.close()
  rmSync(folder, { recursive: true })
})

const IDS = [1, 7, 42, 300, 999, 12]
const logitsAt = async (path: string) => {
  await using model = await node.openModel(path)
  return await logits(model, engine, IDS)
}

/** Files as `<input webkitdirectory>` gives them. */
const picked = (files: Readonly<Record<string, Uint8Array | string>>, root = 'tiny-llama') =>
  Object.entries(files).map(([path, bytes]) => {
    const file = new File([bytes as Uint8Array<ArrayBuffer>], path.split('/').at(-1)!)
    return Object.defineProperty(file, 'webkitRelativePath', { value: `${root}/${path}` })
  })

/** Address of a folder on the Hub of this machine. */
function served(files: Readonly<Record<string, Buffer>>): string {
  server.put('me/tiny', files)
  return `${server.url}/me/tiny/resolve/main`
}

const SHARD = 'model-00001-of-00001.safetensors'
const { 'model.safetensors': weights, ...others } = TINY_FILES
const tensors = (await node.inspect(TINY_LLAMA)).tensors
const sharded = {
  ...others,
  [SHARD]: weights,
  'model.safetensors.index.json': Buffer.from(
    JSON.stringify({ weight_map: Object.fromEntries(tensors.map(({ name }) => [name, SHARD])) }),
  ),
}

describe('logits of', () => {
  test.for<[string, () => Promise<Parameters<typeof openModel>>]>([
    ['the files of a folder', async () => [picked({ ...TINY_FILES, 'onnx/model.onnx': '', 'onnx/config.json': '{}' })]],
    [
      'files picked one by one',
      async () => [Object.entries(TINY_FILES).map(([name, bytes]) => new File([new Uint8Array(bytes)], name))],
    ],
    ['the files of a folder with shards', async () => [picked(sharded)]],
    ['the address of a folder', async () => [served(TINY_FILES)]],
    ['the address of a folder with shards', async () => [new URL(`${served(sharded)}/`)]],
    ['a server that sends files whole', async () => [ADDRESS, { fetch: serve(TINY_FILES, { ranges: false }) }]],
  ])('%s', async ([, source]) => {
    await using model = await openModel(...(await source()))
    expect(await logits(model, engine, IDS)).toEqual(await logitsAt(TINY_LLAMA))
  })

  test('a .gguf file, as a Blob, a picked file and an address', async () => {
    const output = join(folder, 'tiny.gguf')
    await node.exportModel(TINY_LLAMA, { output, to: [{ to: 'gguf', dtype: 'Q8_0' }] })
    const expected = await logitsAt(output)
    const bytes = readFileSync(output)
    const address = `${served({ 'tiny.gguf': bytes })}/tiny.gguf?download=true`
    for (const source of [new Blob([bytes]), [new File([bytes], 'tiny.gguf')], address]) {
      await using model = await openModel(source)
      expect(await logits(model, engine, IDS)).toEqual(expected)
    }
  })
})

test('the verbs give what they give in Node', async () => {
  const file = new File([TEXT], 'text.txt')
  const texts = [{ name: 'text.txt', text: async () => TEXT }]
  await using model = await openModel(picked(TINY_FILES))
  const windows = { seqLen: 32, windows: 2, engine }
  expect(await perplexity(model, file, windows)).toEqual(await node.perplexity(TINY_LLAMA, texts[0], windows))
  const { contents, ...measures } = await node.evaluate(TINY_LLAMA, { text: texts, ...windows })
  expect(contents).toEqual({ text: [], tasks: [] })
  expect(await evaluate(model, { text: [file], ...windows })).toEqual(measures)
  expect(await generate(model, 'It was', { maxTokens: 4, engine })).toEqual(
    await node.generate(TINY_LLAMA, 'It was', { maxTokens: 4 }),
  )
  expect({ ...(await inspect(model)), name: '' }).toEqual({ ...(await node.inspect(TINY_LLAMA)), name: '' })
  const cut = { sparsity: 0.2, windows: 2, seqLen: 32, engine }
  const [output, other] = [new MemorySink(), new MemorySink()]
  await using run = await prepare(model, { ...cut, calibration: [file], output })
  expect({ ...run.plan, options: run.options, exports: [] }).toEqual(
    await node.planPrune(TINY_LLAMA, { sparsity: 0.2, windows: 2, seqLen: 32, calibration: texts }),
  )
  await prune(model, { ...cut, calibration: [file], output })
  await node.prune(TINY_LLAMA, { ...cut, calibration: texts, output: other })
  expect([...output.files.keys()]).toEqual([...other.files.keys()])
  const [ours, theirs] = [output, other].map(sink => sink.files.get('model.safetensors')!)
  expect(Buffer.compare(ours, theirs)).toBe(0)
})

test('activations beyond the memory go to a file of the caller, and change nothing', async () => {
  await using model = await openModel(picked(TINY_FILES))
  const files: Buffer[] = []
  let closed = 0
  async function openScratch(): Promise<Scratch> {
    const file = Buffer.alloc(2 ** 24)
    files.push(file)
    return {
      read: async (target, offset) => target.set(file.subarray(offset, offset + target.byteLength)),
      write: async (bytes, offset) => file.set(bytes, offset),
      close: async () => void closed++,
    }
  }
  const calibration = [new File([TEXT], 'text.txt')]
  const cut = async (more: { memory?: number; openScratch?: () => Promise<Scratch> }) => {
    const output = new MemorySink()
    await prune(model, { sparsity: 0.2, windows: 4, seqLen: 32, calibration, output, engine, ...more })
    return output.files.get('model.safetensors')!
  }
  const expected = await cut({})
  expect(Buffer.compare(await cut({ memory: 0, openScratch }), expected)).toBe(0)
  expect(files.some(file => file.some(byte => byte !== 0))).toBe(true)
  expect(closed).toBe(files.length)
})

describe('a run that is saved', () => {
  type Files = Map<string, Buffer>

  /** What a disk has of a file that is open for reading and writing. */
  const onDisk = (files: Files, name: string) => ({
    read: async (target: Uint8Array, offset: number) =>
      target.set(files.get(name)!.subarray(offset, offset + target.length)),
    write: async (bytes: Uint8Array, offset: number) => {
      const end = offset + bytes.length
      const before = files.get(name)!
      if (end > before.length) files.set(name, Buffer.concat([before, Buffer.alloc(end - before.length)]))
      files.get(name)!.set(bytes, offset)
    },
    sync: async () => {},
    close: async () => {},
  })

  /** A sink whose files stay where the run fails, as those of a disk. */
  const sinkOver = (files: Files): Sink => ({
    async create(name, length) {
      const there = files.get(name)
      if (there?.length !== length) files.set(name, Buffer.alloc(length, there))
      return onDisk(files, name)
    },
    written: name => files.get(name)!,
    file: name => ({ name, ...onDisk(files, name) }),
    commit: async () => {},
    abort: async () => {},
  })

  const folderOver = (files: Files, free = 1e9): StateFolder => ({
    ...{ path: 'state', whose: 'This page', purpose: 'What a reload would go on from', remedy: 'Begin anew.' },
    list: async () => [...files.keys()],
    read: async name => files.get(name)!,
    write: async (name, bytes) => void files.set(name, Buffer.from(bytes)),
    async open(name, create) {
      if (create) files.set(name, Buffer.alloc(0))
      return { byteLength: files.get(name)!.length, ...onDisk(files, name) }
    },
    async rename(from, to) {
      files.set(to, files.get(from)!)
      files.delete(from)
    },
    remove: async name => (name ? void files.delete(name) : files.clear()),
    freeBytes: async () => free,
  })

  const hashes = (files: Files) =>
    [...files].map(([name, bytes]) => [name, createHash('sha256').update(bytes).digest('hex')]).sort()

  const calibration = [new File([TEXT], 'text.txt')]
  const OPTIONS = { sparsity: 0.3, windows: 4, seqLen: 32, calibration, engine }
  const OF = { model: 'tiny', browser: 'this one' }

  /** Runs until `at` events have come. @returns notices and how many events there were */
  async function run(
    output: Files,
    state: Files,
    at = Number.POSITIVE_INFINITY,
    more: Partial<PruneInPageOptions> = {},
  ) {
    await using model = await openModel(picked(TINY_FILES))
    const seen: ProgressEvent[] = []
    const saved = { folder: folderOver(state), of: OF, every: 0 }
    const onEvent = (event: ProgressEvent) => {
      if (seen.push(event) > at) throw new Error('closed')
    }
    const done = prune(model, { ...OPTIONS, output: sinkOver(output), saved, onEvent, ...more })
    if (at < Number.POSITIVE_INFINITY) await expect(done).rejects.toThrow('closed')
    else await done
    return { events: seen.length, notices: seen.flatMap(one => (one.type === 'notice' ? one.message : [])) }
  }

  test.for(someOf(['stock', 'best'], () => false))(
    'is gone on with to the same bytes, by %s',
    { timeout: 240_000 },
    async method => {
      const whole: Files = new Map()
      const { events } = await run(whole, new Map(), undefined, { method })
      for (const part of [0.4, 0.9]) {
        const [output, state]: Files[] = [new Map(), new Map()]
        await run(output, state, Math.floor(part * events), { method })
        expect([...state.keys()]).toContain('manifest.json')
        const { notices } = await run(output, state, undefined, { method, memory: 1 })
        expect(notices).toContainEqual(expect.stringMatching(/^Goes on after /))
        expect(hashes(output)).toEqual(hashes(whole))
      }
    },
  )

  test('of other options, another model, or damaged is refused, and stays', { timeout: 120_000 }, async () => {
    const [output, state]: Files[] = [new Map(), new Map()]
    const { events } = await run(new Map(), new Map())
    await run(output, state, Math.floor(0.6 * events))
    const again = (more: Partial<PruneInPageOptions>) => run(output, state, undefined, more)
    await expect(again({ sparsity: 0.2 })).rejects.toThrow(
      'This page holds the state of another run: sparsity is 0.2, there 0.3. Begin anew.',
    )
    const of = { ...OF, browser: 'another' }
    await expect(again({ saved: { folder: folderOver(state), of } })).rejects.toThrow('browser is "another"')
    output.get('model.safetensors')!.reverse()
    await expect(again({})).rejects.toThrow('is not what was written')
    output.get('model.safetensors')!.reverse()
    expect(state.size).toBeGreaterThan(2)
    const own = plain({ score: ({ width }) => new Float64Array(width) })
    await expect(again({ method: own })).rejects.toThrow('functions of yours')
    await expect(again({ output: new MemorySink() })).rejects.toThrow('whose files another run can go on with')
  })

  test('goes on without what there is no room for, and says so', async () => {
    const state: Files = new Map()
    const folder = folderOver(state, 1000)
    const { notices } = await run(new Map(), state, undefined, { saved: { folder, of: OF, every: 0 } })
    expect(notices).toContainEqual(expect.stringMatching(/^What a reload would go on from .* and the disk has 1.0 kB/))
  })
})

test('onnxruntime-web gives what onnxruntime-node gives', { timeout: 120_000 }, async () => {
  await using web = createEngine(ort)
  await using model = await openModel(picked(TINY_FILES))
  const expected = await logitsAt(TINY_LLAMA)
  const found = await logits(model, web, IDS)
  expect(expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0)).toBeGreaterThan(1)
  expect(Math.max(...found.map((value, i) => Math.abs(value - expected[i])))).toBeLessThan(1e-3)
  const calibration = [new File([readFileSync(new URL('../LICENSE', import.meta.url))], 'text.txt')]
  const options = { sparsity: 0.3, windows: 4, seqLen: 64, calibration }
  const cut = (by: node.Engine) => prune(model, { ...options, output: new MemorySink(), engine: by })
  const [here, there] = [await cut(engine), await cut(web)]
  for (const [i, { ffn }] of there.layers.entries()) {
    const others = new Set(here.layers[i].ffn!.kept)
    expect(ffn!.kept.length).toBe(others.size)
    expect(ffn!.kept.filter(column => !others.has(column)).length).toBeLessThan(others.size / 100) // near ties
  }
  const errors = (result: typeof here) => result.layers.flatMap(({ ffn }) => [ffn!.errorBefore, ffn!.errorAfter])
  for (const [i, error] of errors(there).entries()) expectNear(error, errors(here)[i], TOLERANCE.error)
})

test('a GGUF file in memory is the one that Node writes', async () => {
  const path = join(folder, 'exported.gguf')
  await node.exportModel(TINY_LLAMA, { output: path, to: [{ to: 'gguf', dtype: 'q8_0' }] })
  await using model = await openModel(picked(TINY_FILES))
  const sink = new MemorySink()
  const { file, dtype, bytes } = await exportGguf(model, sink, { engine, dtype: 'q8_0' })
  expect([file, dtype, bytes]).toEqual(['model.gguf', 'Q8_0', sink.files.get(file)!.byteLength])
  expect(Buffer.compare(sink.files.get(file)!, readFileSync(path))).toBe(0)
  await expect(exportGguf(model, sink, { engine, dtype: 'q9' })).rejects.toThrow('gguf cannot be written in q9')
})

const ADDRESS = 'https://models.test/tiny'

interface Faults {
  readonly ranges?: boolean
  /** Instead of the answer to a request beyond the first. */
  readonly later?: (bytes: Buffer, start: number, end: number) => Response
}

/** A web server in place of the network. */
function serve(files: Readonly<Record<string, Buffer>>, { ranges = true, later }: Faults = {}): typeof fetch {
  return async (input, init) => {
    const bytes = files[decodeURIComponent(new URL(String(input)).pathname.split('/').at(-1)!)]
    if (!bytes) return new Response('no such file', { status: 404 })
    if (!ranges) return new Response(new Uint8Array(bytes))
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(new Headers(init?.headers).get('Range')!)!.map(Number)
    const end = Math.min(to + 1, bytes.length)
    return from > 0 && later ? later(bytes, from, end) : part(bytes, from, end)
  }
}

const part = (bytes: Buffer, start: number, end: number, told = `bytes ${start}-${end - 1}/${bytes.length}`) =>
  new Response(new Uint8Array(bytes.subarray(start, end)), { status: 206, headers: { 'Content-Range': told } })

test('a part that ends early is asked for once more, past what a browser has kept of it', async () => {
  const asked: (RequestCache | undefined)[] = []
  const whole = serve(TINY_FILES)
  const short: typeof fetch = async (input, init) => {
    asked.push(init?.cache)
    const answer = await whole(input, init)
    if (answer.status !== 206 || init?.cache === 'reload') return answer
    return new Response((await answer.arrayBuffer()).slice(0, 9), { status: 206, headers: answer.headers })
  }
  await using model = await openModel(ADDRESS, { fetch: short })
  await using there = await node.openModel(TINY_LLAMA)
  expect(model.architecture).toEqual(there.architecture)
  expect(asked.filter(cache => cache === 'reload').length).toBeGreaterThan(2)
})

describe('refused with what to do', () => {
  const page = () => new Response('<html>', { headers: { 'Content-Type': 'text/html; charset=utf-8' } })
  test.for<[string, () => Promise<unknown>, string]>([
    [
      'files without a config',
      () => openModel(picked({ 'x/config.json': '{}' })),
      'tiny-llama: has no config.json; wanted',
    ],
    ['no files', () => openModel([]), 'the model: has no config.json'],
    ['ONNX', () => openModel(picked({ ...others, 'onnx/model.onnx': '' })), 'ONNX is written, not read'],
    ['a Blob of something else', () => openModel(new Blob(['x'.repeat(99)])), 'model.gguf: not a GGUF file'],
    [
      'an address where there is nothing',
      () => openModel(ADDRESS, { fetch: serve({}) }),
      `${ADDRESS}: has no config.json`,
    ],
    [
      'a missing file of a signed address',
      () => openModel(`${ADDRESS}/x.gguf?signature=secret`, { fetch: serve({}) }),
      `${ADDRESS}/x.gguf: is not there, or its server does not give it to this page`,
    ],
    ['a server of pages', () => openModel(ADDRESS, { fetch: async () => page() }), `${ADDRESS}: has no config.json`],
    [
      'a shard that is missing',
      () => openModel(ADDRESS, { fetch: serve({ ...sharded, [SHARD]: undefined as unknown as Buffer }) }),
      `${ADDRESS}/${SHARD}: is not there`,
    ],
    [
      'a server that cannot be reached',
      () => openModel(ADDRESS, { fetch: () => Promise.reject(new TypeError('Failed to fetch')) }),
      'cannot be fetched (Failed to fetch). Check the connection',
    ],
    [
      'a server that fails',
      () => openModel(ADDRESS, { fetch: async () => new Response('', { status: 500 }) }),
      'its server answers status 500, no range of bytes 0 to',
    ],
    [
      'more than was asked for',
      () =>
        read({
          later: (bytes, start, end) => part(bytes, start, end + 1, `bytes ${start}-${end - 1}/${bytes.length}`),
        }),
      'its server sends more than the',
    ],
    [
      'less than was asked for',
      () =>
        read({
          later: (bytes, start, end) => part(bytes, start, end - 1, `bytes ${start}-${end - 1}/${bytes.length}`),
        }),
      'ended after',
    ],
    [
      'a file that was changed',
      () =>
        read({
          later: (bytes, start, end) => part(bytes, start, end, `bytes ${start}-${end - 1}/${bytes.length + 1}`),
        }),
      'was the file changed? Try again',
    ],
    [
      'an endless file of a server without ranges',
      () => openModel(`${ADDRESS}/x.gguf`, { fetch: async () => new Response(endless()) }),
      'larger ones than 64 MiB need a server that answers requests with a Range',
    ],
    [
      'no engine',
      () => generate(picked(TINY_FILES), 'It was'),
      'no engine. Give one: engine: createEngine(ort), where ort is onnxruntime-web.',
    ],
  ])('%s', async ([, act, says]) => {
    const error = (await act().catch(e => e)) as Error
    expect(error).toBeInstanceOf(node.FaspError)
    expect(error.message).toContain(says)
    expect(error.message).not.toContain('secret')
  })

  async function read(faults: Faults) {
    await using model = await openModel(ADDRESS, { fetch: serve(TINY_FILES, faults) })
    return await logits(model, engine, IDS)
  }

  const endless = () => new ReadableStream({ pull: controller => controller.enqueue(new Uint8Array(2 ** 22)) })

  test('an aborted signal ends the fetch with its reason', async () => {
    const stop = new AbortController()
    const fetch: typeof globalThis.fetch = async (_, init) => {
      stop.abort(new Error('enough'))
      init?.signal?.throwIfAborted()
      return page()
    }
    await expect(openModel(ADDRESS, { fetch, signal: stop.signal })).rejects.toThrow('enough')
  })
})
