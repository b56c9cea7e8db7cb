// The page with a Hub on this machine: found, looked at, fetched; nothing asked before, nothing kept.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Listing, listRepo } from '../../src/hub/listing.ts'
import * as node from '../../src/node.ts'
import { TINY_LLAMA } from '../fasp.ts'
import { HubServer } from '../hub-server.ts'
import { begin, giveText, leave, type Opened, openSite, prune, readable, saveOften, step, takeTiny } from './browser.ts'

const hub = new HubServer()
const folder = mkdtempSync(join(tmpdir(), 'fasp-page-hub-'))
const FILES = Object.fromEntries(readdirSync(TINY_LLAMA).map(name => [name, readFileSync(join(TINY_LLAMA, name))]))
let site: Awaited<ReturnType<typeof openSite>>
beforeAll(async () => {
  await hub.start()
  site = await openSite([hub.url, hub.store])
  await node.exportModel(TINY_LLAMA, { output: join(folder, 'small.gguf'), to: [{ to: 'gguf', dtype: 'q8_0' }] })
})
afterAll(async () => {
  await site?.close()
  await hub.stop()
  rmSync(folder, { recursive: true, force: true })
})
beforeEach(() => {
  hub.reset()
  hub.put('org/tiny', FILES)
  hub.put(
    'me/hidden',
    { 'small.gguf': readFileSync(join(folder, 'small.gguf')), 'README.md': '# x' },
    { private: true },
  )
})

/** With the checksums that the Hub says. */
async function listed(id: string): Promise<Listing['files']> {
  const access = { endpoint: hub.url, timeout: 10_000, name: id, id }
  return (await listRepo(id, 'main', access)).files
}

async function open() {
  const opened = await site.open()
  opened.page.setDefaultTimeout(20_000)
  return opened
}

test('words are searched, sizes shown, the folder fetched and planned', async () => {
  const { page, said, requests } = await open()
  expect(hub.requests).toEqual([])
  await page.getByLabel('Name of a model').fill('tiny')
  await page.getByRole('button', { name: 'Search' }).click()
  await page.getByText('org/tiny', { exact: true }).waitFor()
  expect(await page.getByText('1.3 M parameters').isVisible()).toBe(true)
  await readable(page, 'hub-found')
  await page.getByRole('button', { name: 'Sizes of org/tiny' }).click()
  const fetch = page.getByRole('button', { name: 'Fetch the folder' })
  await fetch.waitFor()
  await readable(page, 'hub-parts')
  expect(hub.requests.filter(({ store }) => store)).toEqual([]) // nothing large yet
  await fetch.click()
  await page.getByRole('heading', { level: 2, name: 'tiny' }).waitFor()
  const { parameters } = await node.inspect(TINY_LLAMA)
  expect(parameters.total).toBeGreaterThan(1e6)
  await page.getByRole('button', { name: 'Next: how much' }).click()
  await page.getByText('Weights', { exact: true }).waitFor()
  expect(hub.requests.every(({ token }) => token === undefined)).toBe(true)
  const asked = requests.map(({ url }) => new URL(url).origin).filter(origin => !site.url.startsWith(origin))
  expect(new Set(asked)).toEqual(new Set([hub.url, hub.store]))
  expect(said).toEqual([])
})

test('a private GGUF is fetched with a token, which the store never sees and no storage has', async () => {
  const { page } = await open()
  await page.getByLabel('Name of a model').fill('me/hidden')
  await page.getByRole('button', { name: 'Search' }).click()
  expect(await page.getByRole('alert').textContent()).toContain('give a token')
  await page.getByText('Token, for gated').click()
  await page.getByLabel('Token of the Hub').fill('hf_reader')
  await page.getByRole('button', { name: 'Search' }).click()
  await page.getByRole('button', { name: 'Fetch small.gguf' }).click()
  await page.getByRole('heading', { level: 2, name: 'small.gguf' }).waitFor()
  const downloads = hub.requests.filter(({ store, method }) => store && method === 'GET')
  expect(downloads.length).toBe(1)
  expect(downloads[0].token).toBeUndefined()
  const kept = await page.evaluate(async () => [
    JSON.stringify({ ...localStorage, ...sessionStorage }),
    document.cookie,
    (await indexedDB.databases()).length,
  ])
  expect(kept).toEqual(['{}', '', 0])
  await page.getByRole('button', { name: 'Next: how much' }).click()
  await page.getByRole('button', { name: '1 Model' }).click()
  await page.getByText('Token, for gated').click()
  expect(await page.getByLabel('Token of the Hub').inputValue()).toBe('')
})

test('what breaks or is damaged is said and not used, and a fetch is cancelled', async () => {
  const { page } = await open()
  await page.getByLabel('Name of a model').fill('org/tiny')
  await page.getByRole('button', { name: 'Search' }).click()
  const fetch = page.getByRole('button', { name: 'Fetch the folder' })
  hub.fault = ({ store }) => (store ? { cutAt: 100_000 } : undefined)
  await fetch.click()
  expect(await page.getByRole('alert').textContent()).toContain('the connection broke in model.safetensors')
  hub.fault = ({ store }) => (store ? { stallAt: 100_000 } : undefined)
  await fetch.click()
  await page.getByRole('button', { name: 'Cancel' }).click()
  await page.getByRole('button', { name: 'Cancel' }).waitFor({ state: 'detached' })
  // One bit of a large file, which has a SHA-256, then of a small one, with Git's SHA-1: nothing of either is used.
  for (const name of ['model.safetensors', 'config.json']) {
    hub.fault = ({ store, path }) => ({ damaged: name === 'config.json' ? path.endsWith(name) : store })
    await fetch.click()
    const { etag } = (await listed('org/tiny')).get(name)!
    const message = `org/tiny: ${name} arrived damaged: its checksum is not ${etag}. It was removed; try again.`
    await expect.poll(() => page.getByRole('alert').allTextContents()).toEqual([message])
    expect(await page.getByRole('heading', { level: 2, name: 'tiny' }).count()).toBe(0)
  }
  hub.fault = () => undefined
  await fetch.click()
  await page.getByRole('heading', { level: 2, name: 'tiny' }).waitFor()
})

test('a run that is left goes on with the model fetched once more, with the token where it takes one', async () => {
  const { page } = await open()
  await saveOften(page)
  const fetchHidden = async () => {
    await page.getByLabel('Name of a model').fill('me/hidden')
    await page.getByText('Token, for gated').click()
    await page.getByLabel('Token of the Hub').fill('hf_reader')
    await page.getByRole('button', { name: 'Search' }).click()
    await page.getByRole('button', { name: 'Fetch small.gguf' }).click()
    await page.getByRole('heading', { level: 2, name: 'small.gguf' }).waitFor()
  }
  const goOn = () => page.getByRole('button', { name: 'Go on' }).click()
  await fetchHidden()
  await page.getByRole('button', { name: 'Next: how much' }).click()
  await giveText(page, { windows: 160, seqLen: 128 })
  await begin(page)
  await leave(page)
  expect(await page.getByText(/The model is fetched once more: .* of me\/hidden/).isVisible()).toBe(true)
  hub.requests.length = 0
  await goOn()
  await expect.poll(() => page.locator('.stopped').getByRole('alert').textContent()).toContain('token')
  expect(hub.requests.every(({ token }) => token === undefined)).toBe(true) // it was kept nowhere
  await fetchHidden()
  await goOn()
  await step(page, 'At work')
  await page.getByText(/^Goes on after /).waitFor()
  await leave(page)
  hub.repos.set('me/hidden', { ...hub.repos.get('me/hidden')!, private: false }) // now no token is needed
  await goOn()
  await step(page, 'At work')
  await page.getByText(/^Goes on after /).waitFor()
})

describe('a result is pushed', () => {
  let opened: Opened
  let page: Page
  beforeAll(async () => {
    // Files above 10 MB are hashed in WebAssembly: those of the tiny model are to be, too.
    const scripts = readdirSync(join(site.folder, 'assets')).map(name => join(site.folder, 'assets', name))
    const texts = scripts.map(path => [path, readFileSync(path, 'utf8')] as const)
    const [hashing, ...others] = texts.filter(([, text]) => /\b1e7\b.*subtle/.test(text) && text.includes('preupload'))
    expect(others).toEqual([])
    writeFileSync(hashing[0], hashing[1].replaceAll(/\b1e7\b(?=.{0,200}subtle)/g, '1e5'))
    opened = await site.open()
    page = opened.page
    await takeTiny(page)
    await giveText(page)
    await prune(page)
  })
  const push = async (id: string, token = 'hf_writer') => {
    await page.getByLabel('Repository (org/name)').fill(id)
    await page.getByLabel('Token of the Hub').fill(token)
    await page.getByRole('button', { name: 'Push to the Hub' }).click()
    const enabled = () => page.getByRole('button', { name: 'Push to the Hub' }).isEnabled()
    await expect.poll(enabled, { timeout: 60_000 }).toBe(true)
  }
  const problem = async (id: string, token?: string) => {
    await push(id, token)
    return await page.getByRole('alert').textContent({ timeout: 5000 })
  }
  const writes = () => hub.requests.filter(({ method }) => method !== 'GET')

  test('to a repository that is made for it, with what may go beside it', async () => {
    await page.getByLabel('Type of ONNX').selectOption('q4')
    await page.getByLabel('With GGUF').check()
    await page.getByLabel('With ONNX').check()
    await page.getByLabel('Private').check()
    await push('me/small')
    const link = page.getByRole('link', { name: `${hub.url}/me/small/commit/` })
    await readable(page, 'pushed')
    const commit = hub.repos.get('me/small')!.refs.get('main')!
    expect(await link.getAttribute('href')).toBe(`${hub.url}/me/small/commit/${commit}`)
    expect(hub.repos.get('me/small')!.private).toBe(true)
    const files = Object.entries(hub.files('me/small')).filter(([path]) => path !== '.gitattributes')
    const sent = join(folder, 'sent')
    for (const [path, bytes] of files) {
      mkdirSync(dirname(join(sent, path)), { recursive: true })
      writeFileSync(join(sent, path), bytes)
    }
    expect((await node.verify(sent)).checks.filter(({ found }) => found === 'wrong')).toEqual([])
    expect((await node.inspect(join(sent, 'gguf/model.gguf'))).ffnWidth).toBe(288)
    expect(files.map(([path]) => path)).toContain('onnx/onnx/model_q4.onnx')
    expect(writes().every(({ store, token }) => token === (store ? undefined : 'hf_writer'))).toBe(true)
    expect(writes().filter(({ store }) => store).length).toBeGreaterThan(3) // in parts
    const wasm = opened.requests.filter(({ url }) => url.includes('sha256-wrapper'))
    expect(wasm).toHaveLength(1)
    // That a repository is not there is no error of the page's.
    expect(opened.said.filter(line => !line.includes('404'))).toEqual([])
  })

  test('over files that fasp did not write it is not, unless they may be replaced', async () => {
    for (const name of ['With GGUF', 'With ONNX', 'Private']) await page.getByLabel(name).uncheck()
    hub.put('me/theirs', { 'config.json': '{}', 'notes.md': 'mine' })
    expect(await problem('me/theirs')).toBe(
      'me/theirs was not written by fasp (its branch main has no fasp.json, but config.json, notes.md). Choose another name, or allow its files to be replaced.',
    )
    expect(writes()).toEqual([])
    await page.getByLabel('Files there that fasp did not write').check()
    await push('me/theirs')
    await page.getByRole('link', { name: '/me/theirs/commit/' }).waitFor()
    const { 'notes.md': notes, ...files } = hub.files('me/theirs')
    expect(notes.toString()).toBe('mine')
    expect(files['config.json'].toString()).toContain('LlamaForCausalLM')
  })

  test('what is wrong is said, and a broken connection tried again', async () => {
    expect(await problem('me/other', '')).toContain('me/other: to push, give a token, from https://huggingface.co')
    expect(await problem('me/other', 'hf_reader')).toContain('Give the token in the field the right to do this')
    expect(await problem('me/other', 'hf_x y')).toContain('the field holds no token')
    expect(await problem('other')).toContain('"other" is no name of a model on the Hub')
    let broken = 0
    hub.fault = ({ store, method }) => (store && method === 'PUT' && broken++ === 0 ? { cutAt: 0 } : undefined)
    hub.put('me/small', { 'fasp.json': '{}', 'old.safetensors': 'w' })
    await push('me/small')
    await page.getByText('Weights from before go: old.safetensors.').waitFor()
    await page.getByRole('link', { name: '/me/small/commit/' }).waitFor()
    expect(broken).toBeGreaterThan(1)
  })

  test('it is cancelled before the commit, and nothing keeps the token', async () => {
    hub.fault = ({ store, method }) => (store && method === 'PUT' ? { delay: 10_000 } : undefined)
    await page.getByLabel('Repository (org/name)').fill('me/late')
    await page.getByRole('button', { name: 'Push to the Hub' }).click()
    await page.getByText(/Files go to the Hub/).waitFor()
    await expect.poll(() => writes().some(({ store }) => store)).toBe(true)
    await page.getByRole('button', { name: 'Cancel' }).click()
    await expect.poll(() => page.getByRole('button', { name: 'Push to the Hub' }).isEnabled()).toBe(true)
    expect(await page.getByRole('alert').count()).toBe(0)
    expect(Object.keys(hub.files('me/late'))).toEqual(['.gitattributes'])
    const kept = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }) + document.cookie)
    expect(kept).toBe('{}')
    await page.getByRole('button', { name: 'Try another amount' }).click()
    await page.getByRole('button', { name: '4 Result' }).click()
    expect(await page.getByLabel('Token of the Hub').inputValue()).toBe('')
  })
})
