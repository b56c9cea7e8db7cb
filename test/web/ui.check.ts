// The page over `fasp ui`, used as people do: in Chromium, with models at paths. Needs `npm run build`; FASP_SCREENSHOTS=<folder> keeps pictures.
import { existsSync } from 'node:fs'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import * as node from '../../src/node.ts'
import { TEXT, TINY_LLAMA } from '../fasp.ts'
import { HubServer } from '../hub-server.ts'
import { type Served, serveUi } from '../serve-ui.ts'
import { type Opened, openPages, readable } from './browser.ts'

const hub = new HubServer()
let pages: Awaited<ReturnType<typeof openPages>>
let folder: string
let server: Served
let opened: Opened
let page: Page
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fasp-ui-'))
  await cp(TINY_LLAMA, join(folder, 'my-model'), { recursive: true })
  await writeFile(join(folder, 'text.txt'), TEXT.repeat(4))
  pages = await openPages()
  await hub.start()
  for (const [name, value] of Object.entries({ HF_ENDPOINT: hub.url, HF_TOKEN: '', HF_HOME: at('hub') }))
    vi.stubEnv(name, value)
  server = await serveUi(folder, '--save-every', '0')
  opened = await pages.open(server.url)
  page = opened.page
})
afterAll(async () => {
  await server?.kill()
  await pages?.close()
  await hub.stop()
  vi.unstubAllEnvs()
  await rm(folder, { recursive: true, force: true })
})

const step = (name: string) => page.getByRole('heading', { level: 1, name }).waitFor()
const at = (name: string) => join(folder, name)

/** Some seconds of work. */
async function giveText(windows: number, seqLen: number): Promise<void> {
  await page.getByRole('radio', { name: 'Text of mine' }).check()
  await page.getByLabel('Text files on this machine').fill(at('text.txt'))
  await page.getByLabel('Windows of text').fill(String(windows))
  await page.getByLabel('Tokens a window').fill(String(seqLen))
}

const planned = async (): Promise<string> => (await page.getByLabel('Where it goes').getAttribute('placeholder'))!

test('a page without the token says where it is to be had', async () => {
  const { page } = await pages.open(new URL('../../../../', server.url).href)
  await expect.poll(() => page.getByRole('alert').textContent()).toContain('Open the address that fasp ui printed')
})

test('a model is opened by its path, and what is none is said', async () => {
  await readable(page, 'ui-start')
  const path = page.getByLabel('Path of a folder')
  await path.fill(at('nothing'))
  await page.getByRole('button', { name: 'Open' }).click()
  await expect.poll(() => page.getByRole('alert').textContent()).toContain('there is no such file or folder')
  await readable(page, 'ui-problem')
  await path.fill(at('my-model'))
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'my-model' }).waitFor()
  expect(await page.getByRole('alert').count()).toBe(0)
  await readable(page, 'ui-model')
})

test('it is planned, with a name that is free', async () => {
  await page.getByRole('button', { name: 'Next: how much' }).click()
  await expect.poll(planned).toBe(at('my-model-pruned'))
  await page.getByRole('slider').fill('50')
  const plan = await node.planPrune(at('my-model'), { sparsity: 0.5 })
  const ffn = page.locator('.figures > div').filter({ has: page.getByText('FFN', { exact: true }) })
  await expect.poll(() => ffn.locator('dd').textContent()).toBe(`${plan.widths.after[0].ffn}of 384 neurons a layer`)
  await page.getByLabel('Where it goes').fill(at('my-model'))
  await expect.poll(() => page.getByRole('alert').textContent()).toContain(`${at('my-model')} exists already`)
  expect(await page.getByRole('button', { name: 'Prune' }).isDisabled()).toBe(true)
  await page.getByLabel('Where it goes').fill('')
  await page.getByRole('slider').fill('20')
  await page.getByText('Options of the method').click()
  expect(await page.getByLabel('Compute with').count()).toBe(0)
  await giveText(192, 128)
  await page.getByRole('alert').waitFor({ state: 'detached' })
  await readable(page, 'ui-amount')
})

test('at work it is found again after a reload, and in another tab', async () => {
  await page.getByRole('button', { name: 'Prune' }).click()
  await page.locator('.errors tbody tr').first().waitFor()
  await page.reload()
  await step('At work')
  await page.locator('.errors tbody tr').first().waitFor()
  const other = await page.context().newPage()
  await other.goto(server.url)
  await other.getByRole('heading', { level: 1, name: 'At work' }).waitFor()
  await other.close()
  expect(existsSync(at('my-model-pruned'))).toBe(false) // it was no other run
  expect(await page.getByText(`my-model into ${at('my-model-pruned')}`).isVisible()).toBe(true)
  await page.getByRole('heading', { name: /^What it writes with/ }).waitFor()
  await readable(page, 'ui-work')
  await step('What came out')
  expect((await node.inspect(at('my-model-pruned'))).layers).toBe(6)
})

test('what came out is shown, written on and measured, and is there after a reload', async () => {
  await page.reload()
  await step('What came out')
  expect(await page.locator('pre').allTextContents()).toEqual([
    at('my-model-pruned'),
    `fasp prune ${at('my-model')} -s 0.2 -o ${at('my-model-pruned')} --calibration ${at('text.txt')} --windows 192 --seq-len 128`,
  ])
  const agreement = page.locator('.figures > div').filter({ hasText: 'Agreement on held-out text' })
  expect(await agreement.locator('dd').textContent()).toMatch(/^\d+\.?\d* %of next tokens; KL 0\.\d{4}$/)
  await page.getByRole('button', { name: 'Write on' }).click()
  await expect.poll(() => page.getByText('tokens/s').count(), { timeout: 60_000 }).toBe(2)
  const dense = await node.generate(TINY_LLAMA, 'Once upon a time', { maxTokens: 20 })
  const written = await page.getByRole('article', { name: 'As it was' }).locator('p').textContent()
  expect(written!.slice(0, 60)).toBe(`Once upon a time${dense.text}`.slice(0, 60))
  await page.getByLabel('Text that the model').fill(TEXT.slice(0, 4000))
  await page.getByRole('button', { name: 'Measure' }).click()
  await page.getByText('Same next token').waitFor()
  const [report] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Save report' }).click(),
  ])
  await report.saveAs(at('report.html'))
  const html = await readFile(at('report.html'), 'utf8')
  expect(html).toContain('<h1>my-model: pruned</h1>')
  expect(html).toContain(`Node ${process.versions.node}`)
  await readable(page, 'ui-result')
})

test('cancelled it is offered, and goes on', async () => {
  await page.getByRole('button', { name: 'Try another amount' }).click()
  await expect.poll(planned).toBe(at('my-model-pruned-2'))
  await page.getByRole('slider').fill('30')
  await page.getByText('Options of the method').click()
  await giveText(96, 128)
  await page.getByRole('button', { name: 'Prune' }).click()
  await page.locator('.errors tbody tr').nth(1).waitFor()
  await page.getByRole('button', { name: 'Cancel' }).click()
  await step('How much smaller?')
  expect(await page.getByRole('alert').count()).toBe(0)
})

test('killed, the page says so; the next server offers both, to go on with or to discard', async () => {
  await page.getByText('Options of the method').click()
  await page.getByLabel('Windows of text').fill('80')
  await page.getByRole('button', { name: 'Prune' }).click()
  await page.locator('.errors tbody tr').nth(1).waitFor()
  await server.kill()
  await expect.poll(() => page.getByRole('alert').textContent()).toContain('fasp ui has ended')
  server = await serveUi(folder)
  await page.goto(server.url)
  await expect.poll(() => page.getByRole('button', { name: 'Go on' }).count()).toBe(2)
  await readable(page, 'ui-stopped')
  const first = page.locator('.stopped li').filter({ hasText: 'my-model-pruned-2' })
  await first.getByRole('button', { name: 'Go on' }).click()
  await step('What came out')
  expect((await node.inspect(at('my-model-pruned-2'))).layers).toBe(6)
  await page.getByRole('button', { name: 'Model' }).click()
  await page.getByRole('button', { name: 'Discard' }).click()
  await page.getByRole('heading', { name: 'Stopped before its end' }).waitFor({ state: 'detached' })
})

test('with a smaller vocabulary it is measured against the model with the same, and pushed', async () => {
  await page.getByLabel('Path of a folder').fill(at('my-model'))
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'my-model' }).waitFor()
  await page.getByRole('button', { name: 'Next: how much' }).click()
  await page.getByText('Options of the method').click()
  await giveText(8, 64)
  await page.getByRole('checkbox', { name: /^Keep only tokens of my text/ }).check()
  await page.getByRole('slider', { name: 'Keep at most' }).fill('40')
  await page.getByText('Vocabulary', { exact: true }).nth(1).waitFor()
  const output = await planned()
  await page.getByRole('button', { name: 'Prune' }).click()
  await step('What came out')
  expect((await node.inspect(output)).vocabularySize).toBeLessThan((await node.inspect(TINY_LLAMA)).vocabularySize)
  await page.getByLabel('Text that the model').fill(TEXT.slice(0, 4000))
  await page.getByRole('button', { name: 'Measure' }).click()
  await page.getByText('Same next token').waitFor()
  await page.getByLabel('Repository (org/name)').fill('me/small')
  await page.getByLabel('Token of the Hub').fill('hf_writer')
  await page.getByRole('button', { name: 'Push to the Hub' }).click()
  await page.getByRole('link', { name: `${hub.url}/me/small/commit/` }).waitFor()
  expect(hub.files('me/small')['fasp.json']).toEqual(await readFile(join(output, 'fasp.json')))
  await readable(page, 'ui-pushed')
})

test('nothing was said on the console, and nobody else asked', () => {
  expect(opened.said.filter(line => !/net::ERR_(CONNECTION_|INCOMPLETE_)/.test(line))).toEqual([])
  expect(opened.requests.filter(({ url }) => !url.startsWith('http://127.0.0.1:'))).toEqual([])
})
