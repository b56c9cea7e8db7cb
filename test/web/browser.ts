// The page as a host serves it, and Chromium to use it.
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { type BuildEnvironmentOptions, build, preview } from 'vite'
import { expect } from 'vitest'
import { openChromium } from '../chromium.ts'
import { someOf } from '../nightly.ts'

const configFile = fileURLToPath(new URL('../../web/vite.config.ts', import.meta.url))
export const TEXT = await readFile(new URL('../../LICENSE', import.meta.url), 'utf8')
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core'), 'utf8')

export interface Opened {
  readonly page: Page
  /** What went to the console or was thrown. */
  readonly said: readonly string[]
  /** All that was asked for: address and bytes of the body. */
  readonly requests: { readonly url: string; readonly bytes: number }[]
}

/**
 * Builds and serves the page.
 * @param hub addresses of a Hub and of its store, which its policy names @param more of what is built @param gpu whether it has WebGPU
 */
export async function openSite(hub?: readonly string[], more: BuildEnvironmentOptions = {}, gpu = false) {
  const folder = await mkdtemp(join(tmpdir(), 'fasp-site-'))
  const site = { configFile, build: { outDir: folder, ...more } }
  if (hub) process.env.FASP_HUB = hub.join(' ')
  await build({ ...site, logLevel: 'warn' })
  const server = await preview({ ...site, preview: { port: 0 } })
  delete process.env.FASP_HUB
  const url = server.resolvedUrls!.local[0]
  const pages = await openPages(gpu)
  return {
    url,
    folder,
    open: (options?: BrowserContextOptions) => pages.open(url, options),
    async close() {
      await pages.close()
      await server.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Pages at any address. */
export async function openPages(gpu = false) {
  const browser: Browser = await openChromium(undefined, gpu)
  return {
    async open(url: string, options: BrowserContextOptions = {}): Promise<Opened> {
      const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
      context.setDefaultTimeout(60_000)
      await context.addInitScript(() => Object.assign(window, { showSaveFilePicker: undefined })) // nobody answers it
      const page = await context.newPage()
      const said: string[] = []
      const requests: { url: string; bytes: number }[] = []
      page.on('console', message => said.push(message.text()))
      page.on('pageerror', error => said.push(String(error)))
      context.on('requestfinished', async request => {
        const body = await request.response().then(response => response?.body().catch(() => undefined))
        requests.push({ url: request.url(), bytes: body?.byteLength ?? 0 })
      })
      await page.goto(url)
      return { page, said, requests }
    },
    close: () => browser.close(),
  }
}

/** What axe finds, each with an element. */
async function axeFinds(page: Page): Promise<unknown> {
  await page.evaluate(axe)
  return await page.evaluate(
    "axe.run().then(r => r.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html.slice(0, 160)).join(' | ')))",
  )
}

const WIDTHS = [1280, 768, 390]
const LOOKS = WIDTHS.flatMap(width => (['light', 'dark'] as const).map(colorScheme => ({ width, colorScheme })))

/** Looks at what is shown wide and light, narrow and dark; nightly at three widths, in both. FASP_SCREENSHOTS=<folder> keeps pictures. */
export async function readable(page: Page, name: string): Promise<void> {
  for (const { width, colorScheme } of someOf(LOOKS, (_, i) => i === 0 || i === LOOKS.length - 1)) {
    await page.setViewportSize({ width, height: 900 })
    await page.emulateMedia({ colorScheme })
    const to = process.env.FASP_SCREENSHOTS
    if (to) await page.screenshot({ path: join(to, `${name}-${width}-${colorScheme}.png`), fullPage: true })
    expect(await axeFinds(page), `${name}, ${width} px, ${colorScheme}`).toEqual([])
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(width)
  }
  await page.setViewportSize({ width: WIDTHS[0], height: 900 })
}

export const step = (page: Page, name: string) => page.getByRole('heading', { level: 1, name }).waitFor()

export async function takeTiny(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Take the tiny model' }).click()
  await page.getByRole('heading', { name: 'tiny-llama' }).waitFor()
  await page.getByRole('button', { name: 'Next: how much' }).click()
  await step(page, 'How much smaller?')
}

/** Little text, so that it takes seconds. */
export async function giveText(page: Page, { windows = 8, seqLen = 64 } = {}): Promise<void> {
  await page.getByRole('radio', { name: 'Text of mine' }).check()
  await page.getByLabel('Paste text').fill(TEXT)
  await page.getByText('Options of the method').click()
  await page.getByLabel('Windows of text').fill(String(windows))
  await page.getByLabel('Tokens a window').fill(String(seqLen))
}

export async function prune(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Prune' }).click()
  await step(page, 'What came out')
}

/** Runs of this page are saved after each step, and not every two seconds: workers run no script of the test's, so theirs is changed. */
export const saveOften = (page: Page): Promise<unknown> =>
  page.context().route(/computing.*\.js$/, async route => {
    const response = await route.fetch()
    const script = await response.text()
    const body = script.replace(/\bevery:2\b/, 'every:0')
    expect(body).not.toBe(script)
    await route.fulfill({ response, body })
  })

/** Whether the state has the second layer. */
const isHalfWay = (page: Page): Promise<boolean> =>
  page.evaluate(async () => {
    const all = await (await navigator.storage.getDirectory()).getDirectoryHandle('fasp')
    for await (const one of (all as unknown as { values(): AsyncIterable<FileSystemDirectoryHandle> }).values())
      try {
        const manifest = await (await one.getDirectoryHandle('state')).getFileHandle('manifest.json')
        if ((await (await manifest.getFile()).text()).includes('"ffn 1"')) return true
      } catch {} // it is not there, or just replaced
    return false
  })

/** Reloads the page in the middle of a run. */
export const leave = async (page: Page): Promise<void> => {
  await expect.poll(() => isHalfWay(page), { timeout: 60_000 }).toBe(true)
  await page.reload()
  await page.getByText('An unfinished run of').waitFor()
}

/** Of a run of some seconds. */
export const begin = async (page: Page): Promise<void> => {
  await page.getByRole('button', { name: 'Prune' }).click()
  await step(page, 'At work')
}
