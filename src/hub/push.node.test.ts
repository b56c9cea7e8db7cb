// Uploading to a Hub on this machine: what is sent, what is refused, and that a commit is whole or not there.
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { inspect } from 'node:util'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { expectSame, hubPlace, told } from '../../test/hub.ts'
import { answer, json, refuse } from '../../test/hub-answers.ts'
import { FormatError, HubError, OutputError, UsageError } from '../base/errors.ts'
import { type PushOptions, push } from './push.node.ts'

const place = hubPlace()
const { server } = place
const ID = 'me/small'
const WEIGHTS = Buffer.alloc(2_500_000, 'weights ') // three parts
const FILES: Readonly<Record<string, Buffer>> = {
  'README.md': Buffer.from('---\nlicense: mit\n---\n'),
  'config.json': Buffer.from('{}'),
  'fasp.json': Buffer.from('{"schema": 1}'),
  'model.safetensors': WEIGHTS,
  'onnx/model.onnx': Buffer.from('onnx'),
}
let folder: string
beforeEach(() => {
  vi.stubEnv('HF_TOKEN', 'hf_writer')
  folder = join(place.home, 'small')
  put(FILES)
})
const put = (files: Readonly<Record<string, string | Buffer>>) => {
  for (const [name, bytes] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), bytes)
  }
}
const failure = (options?: PushOptions, id = ID): Promise<Error> =>
  told(push(folder, id, options)).then(
    () => expect.unreachable('it was pushed'),
    error => error,
  )
const writes = () => server.requests.filter(({ method }) => method !== 'GET')
/** What the branch holds but for the file that the Hub makes. */
const remote = (ref = 'main', id = ID) => {
  const { '.gitattributes': _, ...files } = server.files(id, ref)
  return files
}

describe('what is sent', () => {
  test('the folder, as one commit, to a repository that is made for it', async () => {
    const { result, events } = await told(push(folder, ID, { private: true }))
    const commit = server.repos.get(ID)!.refs.get('main')!
    const bytes = Object.values(FILES).reduce((sum, file) => sum + file.length, 0)
    expect(result).toEqual({
      id: ID,
      branch: 'main',
      commit,
      url: `${server.url}/me/small/commit/${commit}`,
      pullRequestUrl: undefined,
      created: true,
      files: Object.keys(FILES),
      bytes,
    })
    expect(server.repos.get(ID)!.private).toBe(true)
    expectSame(remote(), FILES)
    expect(events.slice(0, 2)).toEqual([
      { type: 'notice', message: `Made ${server.url}/me/small.` },
      { type: 'phase', phase: 'upload', total: bytes, unit: 'bytes' },
    ])
    expect(events.at(-1)).toEqual({ type: 'progress', done: bytes })
    const header = writes()
      .find(({ path }) => path.includes('/commit/'))!
      .body.toString()
      .split('\n')[0]
    expect(JSON.parse(header).value.summary).toMatch(/^Upload small with fasp \d/)
  })
  test('where the Hub hides what there is not', async () => {
    const hidden = refuse(401, 'Invalid username or password.', { 'X-Error-Code': 'RepoNotFound' })
    server.fault = ({ path }) => (path.includes('/revision/') && !server.repos.has(ID) ? { answer: hidden } : undefined)
    await told(push(folder, ID))
    expectSame(remote(), FILES)
  })
  test('neither hidden nor unfinished files, but what links lead to', async () => {
    put({ '.env': 'x', '.git/config': 'x', 'x.partial': 'x', '.small.0.partial/config.json': '{}' })
    symlinkSync(join(folder, 'config.json'), join(folder, 'linked.json'))
    await told(push(folder, ID))
    expectSame(remote(), { ...FILES, 'linked.json': FILES['config.json'] })
  })
  test('nothing large that the Hub has already', async () => {
    await told(push(folder, ID))
    server.requests.length = 0
    put({ 'config.json': '{"new": 1}' })
    await told(push(folder, ID))
    expect(writes().filter(({ store }) => store)).toEqual([])
    expectSame(remote(), { ...FILES, 'config.json': Buffer.from('{"new": 1}') })
  })
  test('a file as one where it is small', async () => {
    put({ 'model.safetensors': 'w' })
    await told(push(folder, ID))
    expect(writes().filter(({ store, method }) => store && method === 'PUT')).toHaveLength(1)
    expectSame(remote(), { ...FILES, 'model.safetensors': Buffer.from('w') })
  })
  test('to a branch, made from main, with a message', async () => {
    server.put(ID, { 'notes.md': 'mine', 'pytorch_model.bin': 'dense' })
    const { result, events } = await told(push(folder, ID, { revision: 'small', message: 'Half the size' }))
    expect(result).toMatchObject({ branch: 'small', created: false })
    expect(events[0]).toEqual({ type: 'notice', message: 'Made the branch small from main.' })
    expect(events[1]).toEqual({ type: 'notice', message: 'Weights from before go: pytorch_model.bin.' })
    expectSame(remote('small'), { ...FILES, 'notes.md': Buffer.from('mine') })
    expect(Object.keys(remote())).toEqual(['notes.md', 'pytorch_model.bin'])
    const commit = writes()
      .find(({ path }) => path.endsWith('/commit/small'))!
      .body.toString()
    expect(JSON.parse(commit.split('\n')[0]).value.summary).toBe('Half the size')
  })
  test('as a pull request', async () => {
    server.put(ID, { 'config.json': 'mine' })
    const { result } = await told(push(folder, ID, { createPullRequest: true }))
    expect(result.pullRequestUrl).toBe(`${server.url}/me/small/discussions/1`)
    expectSame(remote('refs/pr/1'), FILES)
    expect(Object.keys(remote())).toEqual(['config.json'])
  })
})

describe('what is there', () => {
  test('is kept where fasp did not write it', async () => {
    server.put(ID, { 'config.json': '{}', 'model.safetensors': 'w', 'a.txt': 'a', 'b.txt': 'b' })
    const error = await failure()
    expect(error).toBeInstanceOf(OutputError)
    expect(error.message).toMatch(
      /^me\/small was not written by fasp \(its branch main has no fasp\.json, but config\.json, model\.safetensors, a\.txt, …\)\. Choose another name.*--overwrite/,
    )
    expect(writes()).toEqual([])
    await told(push(folder, ID, { overwrite: true }))
    expectSame(remote(), { ...FILES, 'a.txt': Buffer.from('a'), 'b.txt': Buffer.from('b') })
  })
  test('is replaced where fasp wrote it, weights that would be read instead included', async () => {
    server.put(ID, {
      'fasp.json': '{}',
      'model-1.safetensors': '1',
      'model.safetensors.index.json': '{}',
      'old/model.gguf': 'x',
      'picture.png': 'p',
      'training_args.bin': 't',
    })
    await told(push(folder, ID))
    expectSame(remote(), { ...FILES, 'picture.png': Buffer.from('p'), 'training_args.bin': Buffer.from('t') })
  })
  test('is not replaced where somebody else has pushed meanwhile', async () => {
    server.put(ID, { 'fasp.json': '{}' })
    server.fault = ({ path }) => {
      if (path.includes('/preupload/')) server.put(ID, { 'fasp.json': '{"theirs": 1}' })
      return undefined
    }
    const error = await failure()
    expect(error).toMatchObject({ status: 412 })
    expect(error.message).toContain('A commit has happened since')
    expect(Object.keys(remote())).toEqual(['fasp.json'])
  })
  test('is not public where it was to be private', async () => {
    server.put(ID, {})
    const error = await failure({ private: true })
    expect(error).toBeInstanceOf(UsageError)
    expect(error.message).toContain('me/small exists and is public. Make it private in its settings')
    expect(writes()).toEqual([])
  })
})

describe('what is refused', () => {
  test('without a token', async () => {
    vi.stubEnv('HF_TOKEN', '')
    const error = await failure()
    expect(error).toBeInstanceOf(HubError)
    expect(error.message).toContain('me/small: to push, log in with "hf auth login", or set HF_TOKEN')
    expect(server.requests).toEqual([])
  })
  test('with a token that may only read', async () => {
    vi.stubEnv('HF_TOKEN', 'hf_reader')
    expect((await failure()).message).toMatch(
      /forbids it \(You don't have the rights to create a model under the namespace "me"\)\. Give the token in HF_TOKEN the right/,
    )
    server.put(ID, {})
    expect((await failure()).message).toContain('forbids it (You do not have the right to write to this repository)')
  })
  test('to the name of somebody else', async () => {
    expect((await failure({}, 'them/small')).message).toContain('under the namespace "them"')
  })
  test.each(['small', 'me/small@v1', 'me/small/x.gguf', './small', 'https://huggingface.co/me/small'])(
    'to %s, which is no name',
    async id => {
      const error = await failure({}, id)
      expect(error).toBeInstanceOf(UsageError)
      expect(error.message).toContain('it must be of the form org/name')
    },
  )
  test('a folder that is none, or no model', async () => {
    const wrong = async (path: string) => told(push(path, ID)).catch(error => error)
    expect((await wrong(join(folder, 'nothing'))).message).toContain('is no folder that can be read')
    expect((await wrong(join(folder, 'config.json'))).message).toContain('is no folder that can be read')
    const error = await wrong(join(folder, 'onnx'))
    expect(error).toBeInstanceOf(FormatError)
    expect(error.message).toContain('has neither fasp.json nor config.json')
    expect(server.requests).toEqual([])
  })
  test('a link that leads nowhere', async () => {
    symlinkSync('nowhere', join(folder, 'link.json'))
    expect((await failure()).message).toContain('small/link.json: is a link that leads nowhere')
  })
  test('offline', async () => {
    vi.stubEnv('HF_HUB_OFFLINE', '1')
    expect((await failure()).message).toContain('HF_HUB_OFFLINE forbids to push')
  })
})

describe('what breaks', () => {
  test('a part is sent again', async () => {
    let failures = 0
    server.fault = ({ store }) => (store && failures++ < 2 ? { answer: answer(503) } : undefined)
    await told(push(folder, ID))
    expectSame(remote(), FILES)
  })
  test.each([
    ['an upload', ({ store }: { store: boolean }) => store],
    ['a commit', ({ path }: { path: string }) => path.includes('/commit/')],
  ])('%s that fails for good leaves the branch as it was', async (_, fails) => {
    server.put(ID, { 'fasp.json': '{}' })
    server.fault = asked => (fails({ ...asked }) ? { answer: answer(500) } : undefined)
    const error = await failure()
    expect(error).toMatchObject({ name: 'HubError', status: 500 })
    expect(Object.keys(remote())).toEqual(['fasp.json'])
  })
  test('a store without room says so', async () => {
    const error = { code: 507, message: 'storage quota exceeded' }
    server.fault = ({ path, body }) => {
      if (!path.endsWith('/batch')) return undefined
      const objects = JSON.parse(body.toString()).objects.map((one: object) => ({ ...one, error }))
      return { answer: answer(200, JSON.stringify({ transfer: 'basic', objects })) }
    }
    expect((await failure()).message).toMatch(/^me\/small: .+ refuses it: .*model\.safetensors: storage quota exceeded/)
  })
  test('an address that is none is not repeated: it may be signed', async () => {
    server.fault = ({ path, body }) => {
      if (!path.endsWith('/batch')) return undefined
      const actions = { upload: { href: 'http://[store/x?signature=secret' } }
      const objects = JSON.parse(body.toString()).objects.map((one: object) => ({ ...one, actions }))
      return { answer: answer(200, JSON.stringify({ transfer: 'basic', objects })) }
    }
    const error = await failure()
    expect(error.message).toContain('refers to an address that is no URL')
    expect(inspect(error)).not.toContain('secret')
  })
  test('a Hub that does not say which commit it has made', async () => {
    const made = { success: true, commitOid: { toString: 1 }, commitUrl: 'x' }
    server.fault = ({ path }) => (path.includes('/commit/') ? { answer: json(made) } : undefined)
    expect((await failure()).message).toContain('does not say which commit it has made')
  })
  test('nobody listens any more', async () => {
    put({ 'b.gguf': 'small, so not in parts' })
    server.fault = ({ store, path }) => (store ? { delay: path.includes('.') ? 150 : 5000 } : undefined)
    const started = performance.now()
    const stored = () => writes().filter(({ store }) => store)
    for await (const { type } of push(folder, ID)) if (type === 'progress' && stored().length === 4) break
    expect(performance.now() - started).toBeLessThan(4000)
    expect(stored()).toHaveLength(4)
    expect(writes().filter(({ path }) => path.includes('/commit/'))).toEqual([])
  })
  test('the caller stops', async () => {
    const controller = new AbortController()
    const reason = new Error('enough')
    server.fault = ({ store }) => {
      if (store) controller.abort(reason)
      return undefined
    }
    expect(await failure({ signal: controller.signal })).toBe(reason)
    expect(Object.keys(remote())).toEqual([])
  })
})
