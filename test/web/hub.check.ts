// The page with a Hub on this machine: found, looked at, fetched; nothing asked before, nothing kept.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import * as node from '../../src/node.ts'
import { TINY_LLAMA } from '../fasp.ts'
import { HubServer } from '../hub-server.ts'

import { openSite, readable } from './browser.ts'

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

test('what breaks is said, and a fetch is cancelled', async () => {
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
  hub.fault = () => undefined
  await fetch.click()
  await page.getByRole('heading', { level: 2, name: 'tiny' }).waitFor()
})
