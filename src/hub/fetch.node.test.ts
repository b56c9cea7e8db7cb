// Fetching from a Hub on this machine: which files, into what layout, and how a download goes on after anything that breaks it.
import { createHash } from 'node:crypto'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { gzipSync } from 'node:zlib'
import { describe, expect, test, vi } from 'vitest'
import { goneOwner } from '../../test/fasp.ts'
import { expectSame, filesBelow, hubPlace, TINY_FILES, told } from '../../test/hub.ts'
import { answer, json, refuse } from '../../test/hub-answers.ts'
import { FormatError, HubError, OutputError } from '../base/errors.ts'
import { newOwner } from '../base/unfinished.node.ts'
import { RepoCache } from './cache.node.ts'
import { hubEnvironment } from './environment.node.ts'
import { fetchModel } from './fetch.node.ts'

const place = hubPlace()
const { server } = place
const ID = 'org/model'
const WEIGHTS = Buffer.from(Array.from({ length: 300_000 }, (_, i) => (i * 2654435761) >>> 24))
const FILES = { 'config.json': '{}', 'tokenizer.json': '{"a": 1}', 'model.safetensors': WEIGHTS }
const fetch = async (path = ID) => (await told(fetchModel(path))).result
const failure = (path = ID): Promise<Error> =>
  fetch(path).then(
    () => expect.unreachable('it was fetched'),
    error => error,
  )
const inCache = (...path: string[]) => join(place.home, 'hub/models--org--model', ...path)
const sha256 = createHash('sha256').update(WEIGHTS).digest('hex')
const partial = () => inCache('blobs', `${sha256}.fasp.incomplete`)

describe('which files', () => {
  const EXTRA = {
    'README.md': 'card',
    LICENSE: 'terms',
    'generation_config.json': '{}',
    'pytorch_model.bin': 'b',
    'flax_model.msgpack': 'x',
    'tf_model.h5': 'x',
    'rust_model.ot': 'x',
    'consolidated.safetensors': 'x',
    'training_args.py': 'x',
    'onnx/model.onnx': 'x',
    'original/params.json': 'x',
    'LICENSE\\..\\evil': 'x',
  }
  test('config, tokenizer, licence, card and one kind of weights', async () => {
    server.put(ID, { ...FILES, ...EXTRA })
    const names = Object.keys(filesBelow(await fetch()))
    expect(names).toEqual([
      'LICENSE',
      'README.md',
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
    ])
  })
  test('shards that the index names, no others', async () => {
    const shards = ['a', 'b'].map(part => `model-${part}.safetensors`)
    const index = JSON.stringify({ weight_map: { x: shards[0], y: shards[1] } })
    const { 'model.safetensors': _, ...rest } = FILES
    server.put(ID, {
      ...rest,
      ...EXTRA,
      'model.safetensors.index.json': index,
      ...Object.fromEntries(shards.map(name => [name, name])),
      'model-c.safetensors': 'x',
    })
    const names = Object.keys(filesBelow(await fetch())).filter(name => name.startsWith('model'))
    expect(names).toEqual([...shards, 'model.safetensors.index.json'])
  })
  test('pytorch_model.bin where there is nothing else', async () => {
    const { 'model.safetensors': _, ...rest } = FILES
    server.put(ID, { ...rest, ...EXTRA })
    expect(Object.keys(filesBelow(await fetch()))).toContain('pytorch_model.bin')
  })
  test('code and recipe of a result of fasp', async () => {
    server.put(ID, { ...FILES, 'fasp.json': '{}', 'modeling_fasp.py': 'x' })
    expect(Object.keys(filesBelow(await fetch()))).toEqual(expect.arrayContaining(['fasp.json', 'modeling_fasp.py']))
  })
  test('one GGUF file, in a folder of the repository', async () => {
    server.put(ID, { 'q4/a b.gguf': WEIGHTS, 'b.gguf': 'x' })
    const file = await fetch(`${ID}/q4/a b.gguf`)
    expect(readFileSync(file).equals(WEIGHTS)).toBe(true)
    expect(Object.keys(filesBelow(inCache('snapshots')))).toHaveLength(1)
    vi.stubEnv('HF_HUB_OFFLINE', '1')
    expect(await fetch(`${ID}/q4/a b.gguf`)).toBe(file)
    expect((await failure(`${ID}/b.gguf`)).message).toContain('not all of it, in the cache')
  })
  test('a repository of GGUF files says which', async () => {
    server.put(ID, { 'a.gguf': 'x', 'q4/b.gguf': 'x' })
    const hint = 'It has .gguf files; give one of them: org/model/a.gguf, org/model/q4/b.gguf'
    expect((await failure()).message).toBe(
      `org/model: the repository has no config.json, so it is no transformers model. ${hint}`,
    )
    expect((await failure(`${ID}/c.gguf`)).message).toContain(`the repository has no file c.gguf. ${hint}`)
  })
  test('no weights, or a shard missing', async () => {
    server.put(ID, { 'config.json': '{}', 'tokenizer.json': '{}' })
    expect((await failure()).message).toContain('has no weights; wanted is one of model.safetensors')
    server.put(ID, {
      'config.json': '{}',
      'model.safetensors.index.json': '{"weight_map":{"x":"model-1.safetensors"}}',
    })
    expect((await failure()).message).toContain('lacks 1 of 1 shards: model-1.safetensors')
  })
  test('not more than a model has', async () => {
    const licences = Array.from({ length: 101 }, (_, i) => [`LICENSE${i}`, 'terms'])
    server.put(ID, { ...FILES, ...Object.fromEntries(licences) })
    expect((await failure()).message).toContain('has 103 files that go with the weights (')
    expect(server.downloads()).toEqual([])
  })
})

describe('the cache', () => {
  test('has the layout of huggingface_hub', async () => {
    const commit = server.put(ID, FILES)
    const folder = await fetch()
    expect(folder).toBe(inCache('snapshots', commit))
    expect(readFileSync(inCache('refs/main'), 'utf8')).toBe(commit)
    expect(readlinkSync(join(folder, 'model.safetensors'))).toBe(`../../blobs/${sha256}`)
    // Git's name of the two bytes {}: printf '{}' | git hash-object --stdin
    expect(readlinkSync(join(folder, 'config.json'))).toBe('../../blobs/9e26dfeeb6e641a33dae4961196235bdb965b21b')
    expect(readdirSync(inCache('blobs'))).toHaveLength(3)
  })
  test('what is in it is not fetched again, and nothing is told', async () => {
    server.put(ID, FILES)
    const first = await fetch()
    expect(server.downloads()).toHaveLength(4) // the large one goes through the store
    const { result, events } = await told(fetchModel(ID))
    expect([result, events, server.downloads()]).toEqual([first, [], []])
  })
  test('of a new commit only what has changed is fetched', async () => {
    const old = server.put(ID, FILES)
    await fetch()
    server.downloads()
    const commit = server.put(ID, { ...FILES, 'config.json': '{"new": 1}' })
    expect(await fetch()).toBe(inCache('snapshots', commit))
    expect(server.downloads().map(({ path }) => path)).toEqual([`/org/model/resolve/${commit}/config.json`])
    expect(readFileSync(inCache('refs/main'), 'utf8')).toBe(commit)
    expect(await fetch(`${ID}@${old}`)).toBe(inCache('snapshots', old))
  })
  test('branches, pull requests and commits', async () => {
    const commit = server.put(ID, FILES)
    const { refs } = server.repos.get(ID)!
    refs.set('v1.0', commit).set('refs/pr/1', commit)
    server.put(ID, { ...FILES, 'config.json': '{"new": 1}' })
    for (const revision of ['v1.0', 'refs/pr/1', commit])
      expect(await fetch(`${ID}@${revision}`)).toBe(inCache('snapshots', commit))
    expect(Object.keys(filesBelow(inCache('refs')))).toEqual(['refs/pr/1', 'v1.0'])
    server.requests.length = 0
    await fetch(`${ID}@${commit}`)
    expect(server.requests).toEqual([]) // a commit does not change
  })
  test('a file that is shorter than it should be is fetched again', async () => {
    server.put(ID, FILES)
    const folder = await fetch()
    writeFileSync(inCache('blobs', sha256), 'short')
    await fetch()
    expect(filesBelow(folder)['model.safetensors'].equals(WEIGHTS)).toBe(true)
  })
  test('without symbolic links', async () => {
    vi.stubEnv('HF_HUB_DISABLE_SYMLINKS', '1')
    server.put(ID, FILES)
    const folder = await fetch()
    expect(lstatSync(join(folder, 'model.safetensors')).isSymbolicLink()).toBe(false)
    expect(filesBelow(folder)['model.safetensors'].equals(WEIGHTS)).toBe(true)
    expect(statSync(join(folder, 'model.safetensors')).ino).toBe(statSync(inCache('blobs', sha256)).ino) // no second copy
  })
  test.each(['', '1'])(
    'a file is there at each moment in which others put it there (no symbolic links: "%s")',
    async none => {
      vi.stubEnv('HF_HUB_DISABLE_SYMLINKS', none)
      const commit = server.put(ID, FILES)
      const folder = await fetch()
      const cache = new RepoCache(await hubEnvironment(), ID)
      const file = { path: 'model.safetensors', size: WEIGHTS.length, etag: sha256 }
      let over = false
      const others = async () => {
        for (let time = 0; time < 30; time++) {
          const claimed = await cache.claim(file)
          writeFileSync(claimed, WEIGHTS)
          await cache.keep(commit, file, claimed)
        }
      }
      const putting = others().finally(() => (over = true))
      while (!over) expect(await cache.names(commit)).toContain(file.path)
      await putting
      expect(readdirSync(folder).sort()).toEqual(Object.keys(FILES).sort())
    },
  )
  test('a local path wins, unless hf: says otherwise', async () => {
    const local = join(place.home, 'org/model')
    mkdirSync(local, { recursive: true })
    const before = process.cwd()
    server.put(ID, FILES)
    process.chdir(place.home)
    try {
      expect(await fetch()).toBe(ID)
      expect(server.requests).toEqual([])
      expect(await fetch(`hf:${ID}`)).toContain('models--org--model')
    } finally {
      process.chdir(before)
    }
  })
  test('two at a time', async () => {
    server.put(ID, FILES)
    server.fault = ({ store, range }) => (store && !range ? { cutAt: 100_000 } : undefined)
    const folders = await Promise.all([fetch(), fetch(), fetch()])
    expect(new Set(folders).size).toBe(1)
    expect(filesBelow(folders[0])['model.safetensors'].equals(WEIGHTS)).toBe(true)
    expect(readdirSync(inCache('blobs')).filter(name => name.includes('incomplete'))).toEqual([])
  })
})

describe('a download that breaks', () => {
  const ranges = () => server.downloads().flatMap(({ store, range }) => (store ? [range] : []))

  test('goes on where it stopped', async () => {
    server.put(ID, FILES)
    let cuts = 0
    server.fault = ({ store }) => (store && cuts++ < 2 ? { cutAt: 100_000 } : undefined)
    const { result, events } = await told(fetchModel(ID))
    expect(ranges()).toEqual([undefined, 'bytes=100000-', 'bytes=200000-'])
    expect(filesBelow(result)['model.safetensors'].equals(WEIGHTS)).toBe(true)
    const total = 2 + 8 + WEIGHTS.length
    expect(events[0]).toEqual({ type: 'phase', phase: 'download', total, unit: 'bytes' })
    expect(events.at(-1)).toEqual({ type: 'progress', done: total })
  })
  test('goes on in the next run', async () => {
    server.put(ID, FILES)
    server.fault = ({ store, range }) => (store ? { cutAt: range ? 0 : 120_000 } : undefined)
    const error = await failure()
    expect(error).toBeInstanceOf(HubError)
    expect(error.message).toMatch(
      /^org\/model: the connection broke at byte 120000 of 300000 of model\.safetensors \(.+\)\. What has arrived is kept/,
    )
    expect(readFileSync(partial()).equals(WEIGHTS.subarray(0, 120_000))).toBe(true)
    expect(existsSync(inCache('refs'))).toBe(false)
    ranges()
    server.fault = () => undefined
    const { result, events } = await told(fetchModel(ID))
    expect(ranges()).toEqual(['bytes=120000-'])
    expect(events[0]).toMatchObject({ total: 180_000 })
    expect(filesBelow(result)['model.safetensors'].equals(WEIGHTS)).toBe(true)
    expect(existsSync(partial())).toBe(false)
  })
  const left = (owner: string, bytes: number) => {
    const path = inCache('blobs', `${sha256}.${owner}.fasp.incomplete`)
    mkdirSync(inCache('blobs'), { recursive: true })
    writeFileSync(path, WEIGHTS.subarray(0, bytes))
    return path
  }
  test('goes on where a process was killed, not where one is at work', async () => {
    server.put(ID, FILES)
    const [killed, working] = [left(goneOwner(), 50_000), left(newOwner(), 90_000)]
    utimesSync(working, 1e9, 1e9)
    await fetch()
    expect(ranges()).toEqual(['bytes=50000-'])
    expect([existsSync(killed), existsSync(working)]).toEqual([false, true])
  })
  test('goes on where another machine has stopped for minutes', async () => {
    server.put(ID, FILES)
    const [stopped, working] = ['0123abcd', '4567abcd'].map((machine, i) => left(`${machine}-1-2-0123abcd`, 1000 + i))
    utimesSync(stopped, 1e9, 1e9)
    await fetch()
    expect(ranges()).toEqual(['bytes=1000-'])
    expect([existsSync(stopped), existsSync(working)]).toEqual([false, true])
  })
  test('is removed where all of it has come another way', async () => {
    server.put(ID, FILES)
    await fetch()
    const [killed, working] = [left(goneOwner(), 50_000), left(newOwner(), 90_000)]
    writeFileSync(partial(), WEIGHTS.subarray(0, 10))
    await fetch()
    expect([killed, partial(), working].map(path => existsSync(path))).toEqual([false, false, true])
  })
  test.each([
    ['a byte at a time', {}],
    ['by broken connections', { cutAt: 1 }],
  ])('is given up where it would take for ever, %s', async (_, more) => {
    server.put(ID, FILES)
    let minutes = 0
    vi.spyOn(performance, 'now').mockImplementation(() => 60_000 * minutes++)
    vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '120')
    server.fault = ({ store }) => (store ? { trickle: 20, ...more } : undefined)
    const error = await failure().finally(() => vi.restoreAllMocks())
    expect(error).toBeInstanceOf(HubError)
    expect(error.message).toMatch(
      /model\.safetensors comes at less than 4\.096 kB\/s \(byte \d of 300000\)\. What has arrived is kept/,
    )
    server.fault = () => undefined
    ranges()
    await fetch()
    expect(ranges()).toEqual([expect.stringMatching(/^bytes=\d-$/)])
  })
  test('starts again where the server knows no ranges', async () => {
    server.put(ID, FILES)
    server.fault = ({ store, range }) => (store ? { cutAt: range ? undefined : 100_000, noRanges: true } : undefined)
    expect(filesBelow(await fetch())['model.safetensors'].equals(WEIGHTS)).toBe(true)
    expect(ranges()).toEqual([undefined, 'bytes=100000-'])
  })
  test('starts again where the earlier part is damaged', async () => {
    server.put(ID, FILES)
    mkdirSync(inCache('blobs'), { recursive: true })
    writeFileSync(partial(), Buffer.alloc(1000))
    expect(filesBelow(await fetch())['model.safetensors'].equals(WEIGHTS)).toBe(true)
    expect(ranges()).toEqual(['bytes=1000-', undefined])
  })
  test('goes through a server that compresses', async () => {
    server.put(ID, FILES)
    const gzipped = answer(200, gzipSync(FILES['config.json']), { 'Content-Encoding': 'gzip' })
    server.fault = ({ path }) => (path.endsWith('config.json') ? { answer: gzipped } : undefined)
    expect(filesBelow(await fetch())['config.json'].toString()).toBe('{}')
  })
  test('is given up where nothing comes', async () => {
    vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '0.2')
    server.put(ID, FILES)
    let stalls = 0
    server.fault = ({ store }) => (store && stalls++ < 1 ? { stallAt: 50_000 } : undefined)
    await fetch()
    expect(ranges()).toEqual([undefined, 'bytes=50000-'])
    server.put(ID, { ...FILES, 'config.json': '{"b": 1}' })
    server.fault = ({ path, range }) => (path.endsWith('config.json') ? { stallAt: range ? 0 : 3 } : undefined)
    expect((await failure()).message).toContain(
      'the connection broke at byte 3 of 8 of config.json (no data for 0.2 s)',
    )
  })
  test.each(['model.safetensors', 'config.json'] as const)(
    'is refused where the checksum of %s is wrong',
    async name => {
      const large = name.startsWith('model')
      server.put(ID, FILES)
      server.fault = ({ store, path }) => ({ damaged: large ? store : path.endsWith(name) })
      const error = await failure()
      expect(error).toBeInstanceOf(HubError)
      expect(error.message).toMatch(
        new RegExp(`^org/model: ${name} arrived damaged: its checksum is not ${large ? sha256 : '9e26'}`),
      )
      expect(existsSync(inCache('refs'))).toBe(false)
      server.fault = () => undefined
      expect(filesBelow(await fetch())[name].equals(Buffer.from(FILES[name]))).toBe(true)
    },
  )
  test('stops when the caller does, and keeps what it has', async () => {
    server.put(ID, FILES)
    server.fault = ({ store }) => (store ? { stallAt: 70_000 } : undefined)
    const controller = new AbortController()
    const reason = new Error('enough')
    const running = told(fetchModel(ID, { signal: controller.signal })).catch(error => error)
    await vi.waitFor(
      () => expect(Object.values(filesBelow(inCache('blobs'))).map(file => file.length)).toContain(70_000),
      5000,
    )
    controller.abort(reason)
    expect(await running).toBe(reason)
    server.fault = () => undefined
    server.downloads()
    await fetch()
    expect(ranges()).toEqual(['bytes=70000-'])
  })
})

describe('a Hub that does not help', () => {
  const cached = async () => {
    server.put(ID, FILES)
    const folder = await fetch()
    server.requests.length = 0
    return folder
  }
  const closed = () => vi.stubEnv('HF_ENDPOINT', 'http://127.0.0.1:9') // the discard port: nobody listens

  test('is asked again after a passing failure', async () => {
    server.put(ID, FILES)
    let failures = 0
    server.fault = () => (failures++ < 2 ? { answer: answer(503) } : undefined)
    await fetch()
  })
  test.each([
    [503, 'has trouble (status 503). Try again later.'],
    [429, 'asks for fewer requests'],
  ])('status %i for good', async (status, message) => {
    server.fault = () => ({ answer: answer(status) })
    const error = await failure()
    expect(error).toMatchObject({ name: 'HubError', code: 'HUB', status })
    expect(error.message).toContain(`org/model: ${server.url} ${message}`)
  })
  test('the cache serves while it has trouble', async () => {
    const folder = await cached()
    server.fault = () => ({ answer: answer(500) })
    const { result, events } = await told(fetchModel(ID))
    expect(result).toBe(folder)
    expect(events).toMatchObject([
      { type: 'notice', message: expect.stringContaining(`Using the copy in the cache, ${folder}.`) },
    ])
  })
  test('out of reach', async () => {
    closed()
    expect((await failure()).message).toMatch(
      /^org\/model: there is no such file or folder, and http:\/\/127\.0\.0\.1:9 cannot be reached \(.+\)\. Check the path, the/,
    )
    expect((await failure(`hf:${ID}`)).message).toMatch(
      /^hf:org\/model: cannot reach http:\/\/127\.0\.0\.1:9 \(.+\)\. Check the connection, and HF_ENDPOINT/,
    )
    vi.stubEnv('HF_ENDPOINT', server.url)
    const folder = await cached()
    closed()
    const { result, events } = await told(fetchModel(ID))
    expect([result, events.length]).toEqual([folder, 1])
    expect((await failure('org/other')).message).toContain('cannot be reached')
  })
  test('slow to answer', async () => {
    vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '0.2')
    server.fault = () => ({ stallAt: 0, answer: json({}) })
    expect((await failure()).message).toContain('no answer within 0.2 s')
  })
  test.each(['HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE'])('%s', async variable => {
    const folder = await cached()
    vi.stubEnv(variable, '1')
    expect(await fetch()).toBe(folder)
    const error = await failure('org/other')
    expect(error.message).toContain('org/other: is not a local path, and not, or not all of it, in the cache')
    expect(server.requests).toEqual([])
  })
  test('a snapshot that lacks its weights is no copy to fall back on', async () => {
    server.put(ID, FILES)
    server.fault = ({ store }) => (store ? { answer: answer(403) } : undefined)
    await failure()
    closed()
    expect((await failure()).message).toContain('cannot be reached')
    vi.stubEnv('HF_HUB_OFFLINE', '1')
    expect((await failure()).message).toContain('not all of it, in the cache')
  })
  test('is no Hub at all', async () => {
    server.fault = () => ({ answer: answer(200, '<html>Please log in to this network') })
    const error = await failure()
    expect(error).toBeInstanceOf(HubError)
    expect(error.message).toContain('does not answer as the Hub does')
    server.fault = () => ({ answer: json({ id: ID, sha: '../../../evil' }) })
    expect((await failure()).message).toContain('does not answer as the Hub does (the commit is "../../../evil")')
    server.put(ID, FILES)
    const tree = [{ type: 'file', path: 'config.json', oid: '../../evil', size: 2 }]
    server.fault = ({ path }) => (path.includes('/tree/') ? { answer: json(tree) } : undefined)
    expect((await failure()).message).toContain('(the checksum of "config.json" is "../../evil"')
  })
  test('refers to an address that is none, which is not repeated: it may be signed', async () => {
    server.put(ID, FILES)
    const elsewhere = answer(302, '', { Location: 'http://[store/x?signature=secret' })
    server.fault = ({ path }) => (path.includes('/resolve/') ? { answer: elsewhere } : undefined)
    const error = await failure()
    expect(error.message).toContain('refers to an address that is no URL')
    expect(inspect(error)).not.toContain('secret')
  })
  test('sends more than it said', async () => {
    server.put(ID, FILES)
    server.fault = ({ path }) => (path.endsWith('config.json') ? { answer: answer(200, 'x'.repeat(100)) } : undefined)
    expect((await failure()).message).toContain('config.json is longer than the 2 bytes that the Hub lists')
  })
  test('the cache cannot be written', async () => {
    server.put(ID, FILES)
    writeFileSync(join(place.home, 'hub'), 'a file')
    const error = await failure()
    expect(error).toBeInstanceOf(OutputError)
    expect(error.message).toContain('a part of the path is a file')
  })
})

describe('who may read', () => {
  const LOGIN = 'log in with "hf auth login", or set HF_TOKEN to a token from https://huggingface.co/settings/tokens'

  test('nobody has it', async () => {
    const error = await failure()
    expect(error.message).toBe(
      `org/model: there is no such file or folder, and no such model at ${server.url}. Check the name; if it is right, it is private: ${LOGIN}.`,
    )
    vi.stubEnv('HF_TOKEN', 'hf_reader')
    expect((await failure('hf:org/model')).message).toBe(
      `hf:org/model: there is no such model at ${server.url}. Check the name; if it is right, the token in HF_TOKEN may not see it.`,
    )
  })
  test('no such revision', async () => {
    server.put(ID, FILES)
    expect((await failure(`${ID}@v2`)).message).toBe(
      'org/model@v2: has no such branch, tag or commit on the Hub. Check the part after @.',
    )
  })
  test('private: the token is found in every usual place', async () => {
    server.put('me/secret', FILES, { private: true })
    expect((await failure('me/secret')).message).toContain(LOGIN)
    for (const variable of ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN']) {
      vi.stubEnv(variable, 'hf_reader')
      await fetch('me/secret')
      vi.stubEnv(variable, '')
    }
    writeFileSync(join(place.home, 'token'), 'hf_reader\n')
    await fetch('me/secret')
    writeFileSync(join(place.home, 'token'), 'hf_wrong')
    writeFileSync(join(place.home, 'other'), 'hf_reader')
    vi.stubEnv('HF_TOKEN_PATH', join(place.home, 'other'))
    await fetch('me/secret')
  })
  test('a token of another server than huggingface.co', async () => {
    server.tokens.set('eyJhbGciOi', { name: 'me', mayWrite: false })
    vi.stubEnv('HF_TOKEN', 'eyJhbGciOi')
    server.put('me/secret', FILES, { private: true })
    await fetch('me/secret')
  })
  test('a token that is not valid', async () => {
    server.put(ID, FILES)
    vi.stubEnv('HF_TOKEN', 'hf_expired')
    const message = 'does not accept the token in HF_TOKEN (Invalid credentials in Authorization header)'
    expect((await failure()).message).toContain(message)
    vi.stubEnv('HF_TOKEN', '')
    writeFileSync(join(place.home, 'token'), 'hf_expired')
    expect((await failure()).message).toContain(`the token in ${join(place.home, 'token')} (`)
  })
  test('gated', async () => {
    server.put(ID, FILES, { gated: ['hf_writer'] })
    expect((await failure()).message).toBe(
      `org/model: is gated. Ask for access at ${server.url}/org/model, then ${LOGIN}.`,
    )
    vi.stubEnv('HF_TOKEN', 'hf_reader')
    expect((await failure()).message).toContain('with the account of the token in HF_TOKEN.')
    vi.stubEnv('HF_TOKEN', 'hf_writer')
    await fetch()
  })
  test('a refusal is not hidden by the cache', async () => {
    server.put(ID, FILES)
    await fetch()
    server.fault = () => ({ answer: refuse(403, 'This repository has been disabled.') })
    expect((await failure()).message).toContain('forbids it (This repository has been disabled).')
  })
  test('no name at all', async () => {
    expect(await failure('nothing-here')).toBeInstanceOf(FormatError)
  })
  test('the tiny model as a whole', async () => {
    server.put(ID, TINY_FILES)
    expectSame(filesBelow(await fetch()), TINY_FILES)
  })
})
