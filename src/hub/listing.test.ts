// A Hub that lies, is broken, or never ends: whatever it lists, the answer is a HubError that says so, soon and with little memory.
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { constants, createGzip } from 'node:zlib'
import { describe, expect, test, vi } from 'vitest'
import { hubPlace, told } from '../../test/hub.ts'
import { type Answer, answer, json, refuse } from '../../test/hub-answers.ts'
import { HubError } from '../base/errors.ts'
import { fetchSplit } from './dataset.node.ts'
import { fetchModel } from './fetch.node.ts'

const place = hubPlace()
const { server } = place
const ID = 'org/model'
const failure = (): Promise<Error> =>
  told(fetchModel(ID)).then(
    () => expect.unreachable('it was fetched'),
    error => error,
  )
const inTree = (reply: (search: URLSearchParams) => Answer) => {
  server.put(ID, {})
  server.fault = ({ path, search }) => (path.includes('/tree/') ? { answer: reply(search) } : undefined)
}
const file = (path: unknown) => ({ type: 'file', path, oid: '0'.repeat(40), size: 1 })
const next = (url: string) => ({ Link: `<${server.url}/${url}>; rel="next"` })

describe('a list that never ends', () => {
  const message = /^org\/model: the list of files at .+ has no end, or is of more than 100000 files/

  test('in a circle', async () => {
    const circle = `api/models/${ID}/tree/x?cursor=1`
    inTree(() => json([file('config.json')], next(circle)))
    expect((await failure()).message).toMatch(message)
    expect(server.requests).toHaveLength(3)
  })
  test('of empty pages', async () => {
    inTree(search => json([], next(`api/models/${ID}/tree/x?cursor=${Number(search.get('cursor')) + 1}`)))
    expect((await failure()).message).toMatch(message)
    expect(server.requests.length).toBeLessThan(1010)
  })
  test('of files', async () => {
    const page = Buffer.from(JSON.stringify(Array.from({ length: 20_000 }, (_, i) => file(`LICENSE${i}`))))
    inTree(search => answer(200, page, next(`api/models/${ID}/tree/x?cursor=${Number(search.get('cursor')) + 1}`)))
    expect((await failure()).message).toMatch(message)
    expect(server.requests).toHaveLength(7)
  })
})

test('more files than are fetched', async () => {
  const files = Array.from({ length: 2001 }, (_, i) => file(`a/test/${i}.parquet`))
  server.put('datasets/org/set', {}, {}, 'refs/convert/parquet')
  server.fault = ({ path }) => (path.includes('/tree/') ? { answer: json(files) } : undefined)
  const error = await told(fetchSplit({ id: 'org/set', split: 'test' })).catch(error => error)
  expect(error.message).toBe('datasets/org/set: 2001 files are wanted of the repository; at most 2000 are fetched.')
})

describe('an answer', () => {
  /** Blanks, compressed a thousandfold. */
  const bomb = async (megabytes: number) => {
    const gzip = createGzip({ level: constants.Z_BEST_COMPRESSION })
    const blanks = Buffer.alloc(2 ** 20, ' ')
    for (let i = 0; i < megabytes; i++) gzip.write(blanks)
    gzip.end()
    const chunks = []
    for await (const chunk of gzip) chunks.push(chunk)
    return Buffer.concat(chunks)
  }
  test.each([400, 200])('of status %i that grows when it is decompressed', async status => {
    const bytes = await bomb(300)
    server.put(ID, {})
    server.fault = () => ({ answer: answer(status, bytes, { 'Content-Encoding': 'gzip' }) })
    const before = process.memoryUsage().rss
    const says = status === 200 ? 'answers with more than 8 MiB. Check HF_ENDPOINT' : 'refuses the request (status 400'
    expect((await failure()).message).toContain(says)
    expect(process.memoryUsage().rss - before).toBeLessThan(150e6)
  })
  test('as deep as it may be long', async () => {
    inTree(() => answer(200, '['.repeat(8 * 2 ** 20)))
    const error = await failure()
    expect(error).toBeInstanceOf(HubError)
    expect(error.message.length).toBeLessThan(600)
  })
  test('that comes a byte at a time', async () => {
    let seconds = 0
    vi.spyOn(performance, 'now').mockImplementation(() => 10_000 * seconds++)
    server.fault = () => ({ answer: answer(200, ' '.repeat(1000)), trickle: 20 })
    const error = await failure().finally(() => vi.restoreAllMocks())
    expect(error.message).toContain('has not ended an answer in 120 s')
  })
  test('that is slow, but comes', async () => {
    vi.stubEnv('HF_HUB_DOWNLOAD_TIMEOUT', '0.2')
    server.put(ID, {})
    server.fault = ({ path }) => (path.includes('/revision/') ? { trickle: 2 } : undefined)
    expect((await failure()).message).toContain('the repository has no config.json')
  })
  test('that repeats the token', async () => {
    vi.stubEnv('HF_TOKEN', 'hf_reader')
    server.fault = ({ token }) => ({
      answer: refuse(400, `bad header: Authorization: Bearer ${token}${'.'.repeat(1000)}`),
    })
    const { message } = await failure()
    expect(message).toContain('bad header: Authorization: Bearer ….')
    expect(message).not.toContain('hf_reader')
    expect(message.length).toBeLessThan(600)
  })
})

test.for<[string, (path: string, other: string) => Answer | undefined]>([
  [
    'a list goes on at',
    (path, other) => (path.includes('/tree/') ? json([], { Link: `<${other}/x>; rel="next"` }) : undefined),
  ],
  [
    'a file is redirected to',
    (path, other) => (path.includes('/resolve/') ? answer(302, '', { Location: `${other}/x` }) : undefined),
  ],
])('no token goes to another host that %s', async ([, reply]) => {
  const heard: (string | undefined)[] = []
  await using other = createServer(({ headers }, response) => {
    heard.push(headers.authorization)
    response.end('[]')
  }).listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  server.put(ID, { 'config.json': '{}', 'tokenizer.json': '{}', 'model.safetensors': Buffer.alloc(9) })
  vi.stubEnv('HF_TOKEN', 'hf_reader')
  server.fault = ({ path }) => ({ answer: reply(path, `http://127.0.0.1:${port}`) })
  await failure()
  expect(server.requests.filter(({ store }) => !store).every(({ token }) => token === 'hf_reader')).toBe(true)
  expect(heard.length).toBeGreaterThan(0)
  expect(new Set(heard)).toEqual(new Set([undefined]))
})

describe('what a list says', () => {
  test.each([
    [file({ toString: 1 }), 'the path of a file is an object'],
    [
      { ...file('config.json'), oid: ['0'.repeat(40)] },
      'the checksum of "config.json" is ["0000000000000000000000000000000000000000"], its size 1',
    ],
    [{ ...file('config.json'), size: { toString: 1 } }, 'its size an object'],
  ])('%j is no file', async (entry, message) => {
    inTree(() => json([entry]))
    const error = await failure()
    expect(error).toBeInstanceOf(HubError)
    expect(error.message).toContain(`does not answer as the Hub does (`)
    expect(error.message).toContain(message)
  })
  test.each([
    [{ toString: 1 }, 'an object'],
    [['0'.repeat(40)], `["${'0'.repeat(40)}"]`],
  ])('%j is no commit', async (sha, shown) => {
    server.fault = () => ({ answer: json({ id: ID, sha }) })
    expect((await failure()).message).toContain(`(the commit is ${shown})`)
  })
  test.each([
    ['../validation/0000.parquet', '..'],
    ['..\\validation/test/0000.parquet', '..\\validation'],
    ['a/test/..\\..\\0000.parquet', 'a'],
    ['. ./test/0000.parquet', '. .'],
    ['C:/test/0000.parquet', 'C:'],
    ['a/test/0000\0.parquet', 'a'],
  ])('%j is linked nowhere', async (path, config) => {
    server.put('datasets/org/set', { [path]: 'PAR1' }, {}, 'refs/convert/parquet')
    const split = path.split('/')[1] === 'test' ? 'test' : 'validation'
    const error = await told(fetchSplit({ id: 'org/set', config, split })).catch(error => error)
    expect(error.message).toMatch(/^datasets\/org\/set: (the repository has a file ".+", which cannot be|there is no )/)
    expect(server.downloads()).toEqual([])
    expect(readdirSync(join(place.home))).toEqual([])
  })
})
