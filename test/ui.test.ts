// `fasp ui`: whom it answers, and jobs that go on without a page, after a crash and after Ctrl-C. The page itself: test/web/ui.check.ts.
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { cp } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { FormatError, inspect, prune } from '../src/node.ts'
import { HEADERS } from '../src/page/headers.ts'
import type { Settings, Told } from '../src/page/protocol.ts'
import { openUi } from '../src/page/server.node.ts'
import { refused, snapshot, TINY_LLAMA, workplaces } from './fasp.ts'
import { HubServer } from './hub-server.ts'
import { type Served, send, serveUi } from './serve-ui.ts'
import { tinyOf2Layers } from './tiny.ts'

const workplace = workplaces()
const servers: Served[] = []
/** After each other test, too: a test that fails leaves none behind. */
afterAll(() => Promise.all(servers.map(server => server.kill())))
async function serve(folder: string, ...args: string[]): Promise<Served> {
  const server = await serveUi(folder, ...args)
  servers.push(server)
  return server
}

/** A workplace with two layers of tiny-llama as `model`. */
async function withModel(): Promise<string> {
  const folder = await workplace()
  await cp(tinyOf2Layers(), join(folder, 'model'), { recursive: true })
  return folder
}

const QUICK = { sparsity: 0.2, method: 'plain', texts: ['text.txt'], windows: 2, seqLen: 32 }
/** Long enough to be stopped at work. */
const SLOW = { ...QUICK, method: 'stock', windows: 48, seqLen: 128 }
const settings = (folder: string, more: Partial<Settings> = {}): Settings => ({
  ...{ ...QUICK, model: join(folder, 'model'), output: join(folder, 'out') },
  ...more,
})
const isLayer = (told: Told) => told.type === 'progress' && told.done >= 1
const jobFiles = (folder: string) => readdirSync(join(folder, 'cache/fasp/ui'))
const partials = (folder: string) => readdirSync(folder).filter(name => name.endsWith('.partial'))
const bytesOf = async (output: string) => (await snapshot(output)).map(line => line.slice(output.length))

describe('whom it answers', () => {
  let server: Served
  let good: { Host: string; Origin: string; Authorization: string }
  beforeAll(async () => {
    server = await serve(await withModel())
    const { host, origin, hash } = new URL(server.url)
    good = { Host: host, Origin: origin, Authorization: `Bearer ${hash.slice(1)}` }
  })
  const status = async (sent: Parameters<typeof send>[1]) => {
    const answer = await send(server.port, sent)
    let text = ''
    for await (const part of answer.setEncoding('utf8')) text += part
    return { status: answer.statusCode, headers: answer.headers, text }
  }
  const body = JSON.stringify({ name: 'state', ask: null })

  test('a page of its own, with the token', async () => {
    const { text, headers } = await status({ headers: good, body })
    expect(JSON.parse(text)).toEqual({ type: 'done', answer: { stopped: [] } })
    for (const [name, value] of Object.entries(HEADERS)) expect(headers[name.toLowerCase()]).toBe(value)
    expect(new URL(server.url).hash).toMatch(/^#[\w-]{43}$/)
    const local = { ...good, Host: `localhost:${server.port}`, Origin: `http://localhost:${server.port}` }
    expect((await status({ headers: local, body })).status).toBe(200)
  })

  test.for<[string, number, (good: Record<string, string>) => Parameters<typeof send>[1]]>([
    ['no token', 401, ({ Host, Origin }) => ({ headers: { Host, Origin } })],
    ['another token', 401, good => ({ headers: { ...good, Authorization: `Bearer ${'x'.repeat(43)}` } })],
    ['a token that is cut', 401, good => ({ headers: { ...good, Authorization: good.Authorization.slice(0, -1) } })],
    ['another page', 403, good => ({ headers: { ...good, Origin: 'http://evil.test' } })],
    ['a page of another port', 403, good => ({ headers: { ...good, Origin: 'http://127.0.0.1:1' } })],
    ['a page of no origin', 403, good => ({ headers: { ...good, Origin: 'null' } })],
    ['no page', 403, ({ Host, Authorization }) => ({ headers: { Host, Authorization } })],
    [
      'the name of a stranger, of its own origin, too',
      403,
      good => ({ headers: { ...good, Host: 'evil.test', Origin: 'http://evil.test' } }),
    ],
    ['that name, asked for the page', 403, () => ({ method: 'GET', path: '/', headers: { Host: 'evil.test' } })],
    ['no POST', 405, headers => ({ method: 'GET', headers })],
    ['a body that is too large', 413, headers => ({ headers, body: ' '.repeat(4e6 + 1) })],
    [
      'one that does not say its size',
      413,
      good => ({ headers: { ...good, 'Transfer-Encoding': 'chunked' }, body: ' '.repeat(4e6 + 1) }),
    ],
    ['what is no JSON', 400, headers => ({ headers, body: '{' })],
    ['a call that is none', 404, headers => ({ headers, body: '{"name":"constructor"}' })],
    ['files beside the page', 404, headers => ({ headers, method: 'GET', path: '/../cli.js' })],
    ['files elsewhere', 404, headers => ({ headers, method: 'GET', path: '/%2e%2e/%2e%2e/etc/passwd' })],
  ])('refuses %s', async ([, code, sent]) => {
    const refusal = await status({ ...(sent(good).method ? {} : { body }), ...sent(good) })
    expect(refusal.status).toBe(code)
    expect(JSON.parse(refusal.text)).toEqual({ message: expect.stringMatching(/\.$/) })
    expect(refusal.headers['content-security-policy']).toBe(HEADERS['Content-Security-Policy'])
    expect(refusal.headers).not.toHaveProperty('access-control-allow-origin')
  })

  test('at no address but 127.0.0.1', async () => {
    const others = Object.values(networkInterfaces()).flatMap(all => all!.filter(one => !one.internal))
    for (const host of ['127.0.0.2', '::1', ...others.map(({ address }) => address)])
      await expect(send(server.port, { host, headers: good, body }), host).rejects.toThrow(/ECONNREFUSED|EADDR|EINVAL/)
  })

  test('with the messages of the library, and names each option that it does not know', async () => {
    const missing = join(TINY_LLAMA, 'nothing')
    const { message } = await inspect(missing).catch(error => error)
    await expect(server.call('open', { path: missing })).rejects.toThrow(message)
    await expect(server.call('open', { path: ' ' })).rejects.toThrow('no path. Give that of a')
    const strange = { sparsity: 0.2, overwrite: true } as unknown as Settings
    await expect(server.call('plan', strange)).rejects.toThrow('overwrite')
    await expect(server.call('write', { prompt: 'It', tokens: 9 })).rejects.toThrow('nothing is pruned yet')
  })

  test('what it opens and plans is what the library does; outputs get names that are free', async () => {
    const inspection = await server.call('open', 'tiny')
    expect(inspection).toEqual({ ...JSON.parse(JSON.stringify(await inspect(TINY_LLAMA))), name: inspection.name })
    const folder = await withModel()
    const model = join(folder, 'model')
    const plan = () => server.call('plan', { model, sparsity: 0.2 })
    expect(await plan()).toMatchObject({ output: join(folder, 'model-pruned'), sparsity: 0.2 })
    await cp(model, join(folder, 'model-pruned'), { recursive: true })
    expect((await plan()).output).toBe(join(folder, 'model-pruned-2'))
    const taken = server.call('plan', { model, sparsity: 0.2, output: model })
    await expect(taken).rejects.toThrow(`${model} exists already`)
  })
})

describe('jobs', () => {
  test('one goes on when its page goes away, and whoever comes then hears all of it', {
    timeout: 120_000,
  }, async () => {
    const folder = await withModel()
    const server = await serve(folder)
    const left = server.call('prune', settings(folder, SLOW), (told, hangUp) => isLayer(told) && hangUp())
    await expect(left).rejects.toThrow(/no end|aborted|Premature close/)
    const { job, stopped } = await server.call('state', null)
    expect([job?.order.output, job?.inspection.layers, stopped]).toEqual([join(folder, 'out'), 2, []])
    await expect(server.call('prune', settings(folder))).rejects.toThrow('a job is at work')
    const heard: Told[] = []
    const facts = await server.call('follow', null, told => heard.push(told))
    expect(heard.map(({ type }) => type)).toEqual(expect.arrayContaining(['engine', 'phase', 'progress', 'errors']))
    expect(facts.errors.map(({ layer }) => layer)).toEqual([0, 1])
    expect(facts.output).toBe(join(folder, 'out'))
    expect((await inspect(facts.output!)).layers).toBe(2)
    expect(await server.call('follow', null)).toEqual(facts)
    expect(jobFiles(folder)).toEqual([])
    const text = 'The little girl was afraid of the wood and of the dark night that was in it. '.repeat(20)
    const { dense, pruned } = await server.call('measure', { text, seqLen: 32 })
    expect(dense.windows).toBe(pruned.windows)
    const words = { dense: '', pruned: '' }
    const onTold = (told: Told) => told.type === 'text' && (words[told.side] += told.text)
    const speeds = await server.call('write', { prompt: 'It was', tokens: 8 }, onTold)
    expect([speeds.dense.tokens, speeds.pruned.tokens]).toEqual([8, 8])
    expect(words.dense).not.toBe('')
  })

  test('killed at work it is offered by the next server, and ends with the bytes of a run that nobody stopped', {
    timeout: 240_000,
  }, async () => {
    const folder = await withModel()
    const first = await serve(folder, '--save-every', '0')
    const begun = first.call('prune', settings(folder, SLOW), told => isLayer(told) && first.child.kill('SIGKILL'))
    await expect(begun).rejects.toThrow()
    await first.ended
    expect(partials(folder)).toHaveLength(1)
    const [file] = jobFiles(folder)
    const modes = ['', file].map(name => statSync(join(folder, 'cache/fasp/ui', name)).mode & 0o777)
    expect(modes).toEqual([0o700, 0o600]) // nobody else reads what is pruned
    const next = await serve(folder)
    expect(next.said()).toContain(`Stopped before its end: ${join(folder, 'model')} into ${join(folder, 'out')}.`)
    const { job, stopped } = await next.call('state', null)
    expect([job, stopped.length]).toEqual([undefined, 1])
    expect(stopped[0]).toMatchObject({ output: join(folder, 'out'), settings: { sparsity: 0.2, windows: 48 } })
    const { job: again, stopped: none } = await next.call('resume', stopped[0].id)
    expect([again?.order.output, none]).toEqual([join(folder, 'out'), []])
    const heard: Told[] = []
    await next.call('follow', null, told => heard.push(told))
    expect(heard).toContainEqual({ type: 'notice', message: expect.stringMatching(/^Goes on after/) })
    const whole = join(folder, 'whole/out')
    const { texts: _, ...options } = SLOW
    await prune(join(folder, 'model'), { ...options, calibration: [join(folder, 'text.txt')], output: whole })
    expect(await bytesOf(join(folder, 'out'))).toEqual(await bytesOf(whole))
    expect([partials(folder), jobFiles(folder)]).toEqual([[], []])
  })

  test('Ctrl-C ends it within a second or two and says how to go on; what is discarded is gone', {
    timeout: 120_000,
  }, async () => {
    const folder = await withModel()
    const first = await serve(folder, '--save-every', '0')
    let asked = 0
    const begun = first.call('prune', settings(folder, SLOW), told => {
      if (!isLayer(told) || asked > 0) return
      asked = performance.now()
      first.child.kill('SIGINT')
    })
    await expect(begun).rejects.toThrow()
    expect(await first.ended).toBeOneOf([130, 'SIGINT'])
    expect(performance.now() - asked).toBeLessThan(10_000) // 0.8 s, where nothing else runs
    expect(first.said()).toContain('A job was at work. Start fasp ui again: its page offers to go on.')
    expect(first.said()).toContain('what is done is kept in a hidden folder beside the output.')
    expect(first.said()).not.toContain('--resume')
    const next = await serve(folder)
    const { stopped } = await next.call('state', null)
    expect(stopped).toHaveLength(1)
    await expect(next.call('discard', '../../model')).rejects.toThrow('no longer there')
    expect((await next.call('discard', stopped[0].id)).stopped).toEqual([])
    expect([partials(folder), jobFiles(folder), existsSync(join(folder, 'out'))]).toEqual([[], [], false])
  })

  test('cancelled soon it leaves nothing', { timeout: 120_000 }, async () => {
    const folder = await withModel()
    const server = await serve(folder)
    const begun = server.call('prune', settings(folder, SLOW), told => isLayer(told) && void server.call('stop', null))
    await expect(begun).rejects.toThrow(/abort/)
    expect(await server.call('state', null)).toEqual({ stopped: [] })
    expect([partials(folder), jobFiles(folder)]).toEqual([[], []])
    expect((await server.call('prune', settings(folder))).output).toBe(join(folder, 'out'))
  })
})

test('what a job has made is pushed, by the token of the page or of this user', { timeout: 120_000 }, async () => {
  const hub = await new HubServer().start()
  try {
    const folder = await withModel()
    const env = { HF_ENDPOINT: hub.url, HF_HOME: join(folder, 'hub'), HF_TOKEN: '', HF_TOKEN_PATH: '' }
    for (const [name, value] of Object.entries(env)) vi.stubEnv(name, value)
    const server = await serve(folder)
    const ask = { id: 'me/small', private: true, overwrite: false }
    await expect(server.call('push', ask)).rejects.toThrow('nothing is pruned yet')
    await server.call('prune', settings(folder))
    await expect(server.call('push', ask)).rejects.toThrow('me/small: to push, give a token, from')
    await expect(server.call('push', { ...ask, token: 'hf_reader' })).rejects.toThrow('token in the field the right')
    await expect(server.call('push', { ...ask, token: 'hf_\n x' })).rejects.toThrow('the field holds no token')
    const odd = { ...ask, id: 7 } as unknown as typeof ask
    await expect(server.call('push', odd)).rejects.toThrow('the name is 7; it must be a text')
    expect(hub.requests.filter(({ method }) => method === 'PUT')).toEqual([])
    const heard: Told[] = []
    const { url, files } = await server.call('push', { ...ask, token: ' hf_writer ' }, told => heard.push(told))
    expect(url).toBe(`${hub.url}/me/small/commit/${hub.repos.get('me/small')!.refs.get('main')}`)
    expect(hub.repos.get('me/small')!.private).toBe(true)
    const { '.gitattributes': _, ...there } = hub.files('me/small')
    expect(Object.keys(there)).toHaveLength(files)
    for (const [name, bytes] of Object.entries(there))
      expect(readFileSync(join(folder, 'out', name)).equals(bytes), name).toBe(true)
    expect(heard.map(({ type }) => type)).toEqual(expect.arrayContaining(['phase', 'progress']))
    hub.put('me/theirs', { 'config.json': '{}' })
    mkdirSync(join(folder, 'hub'))
    writeFileSync(join(folder, 'hub/token'), 'hf_writer') // as "hf auth login" leaves it
    const theirs = { ...ask, id: 'me/theirs', private: false }
    await expect(server.call('push', theirs)).rejects.toThrow('or allow its files to be replaced')
    expect((await server.call('push', { ...theirs, overwrite: true })).url).toContain('/me/theirs/commit/')
  } finally {
    vi.unstubAllEnvs()
    await hub.stop()
  }
})

describe('is refused', () => {
  test('a port that is in use, none that there is, and a model', async () => {
    const folder = await workplace()
    const { port } = await serve(folder)
    const taken = ['ui', '--port', String(port)]
    await refused(folder, taken, { code: 2, says: [`port ${port} is in use. Choose another --port`] })
    await refused(folder, ['ui', '--port', '65536'], { code: 2, says: ['port is 65536', 'from 1 to 65535'] })
    await refused(folder, ['ui', '--port', 'x'], { code: 2, says: ['--port is "x"; it must be an integer'] })
    await refused(folder, ['ui', 'model'], { code: 2, says: ['ui takes no model; the page asks for it'] })
  })

  test('where the page is not built', async () => {
    const folder = await workplace()
    const opened = openUi({ page: folder, tiny: TINY_LLAMA, folder, engine: {} })
    await expect(opened).rejects.toThrow(FormatError)
    await expect(opened).rejects.toThrow(`${folder}: the built page is not there. Install fasp again`)
  })
})

test('the package has the page, without workers and runtimes', () => {
  const page = fileURLToPath(new URL('../dist/page', import.meta.url))
  const files = readdirSync(page, { recursive: true, encoding: 'utf8' })
  expect(files.map(name => name.replace(/-[\w-]{8}\./, '.')).sort()).toEqual([
    ...['THIRD-PARTY.txt', 'assets', 'assets/index.css', 'assets/index.js', 'icon.svg', 'index.html'],
  ])
  expect(files.reduce((sum, name) => sum + statSync(join(page, name)).size, 0)).toBeLessThan(300_000)
  expect(readFileSync(join(page, 'THIRD-PARTY.txt'), 'utf8')).toMatch(/^preact [\s\S]*MIT License/)
})
