// The page as a host serves it, and Chromium to use it.
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { build, preview } from 'vite'
import { openChromium } from '../chromium.ts'

const configFile = fileURLToPath(new URL('../../web/vite.config.ts', import.meta.url))
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core'), 'utf8')

export interface Opened {
  readonly page: Page
  /** What went to the console or was thrown. */
  readonly said: readonly string[]
  /** All that was asked for: address and bytes of the body. */
  readonly requests: { readonly url: string; readonly bytes: number }[]
}

/** Builds and serves the page. */
export async function openSite() {
  await build({ configFile, logLevel: 'warn' })
  const server = await preview({ configFile, preview: { port: 0 } })
  const browser: Browser = await openChromium()
  const url = server.resolvedUrls!.local[0]
  return {
    url,
    async open(options: BrowserContextOptions = {}): Promise<Opened> {
      const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
      context.setDefaultTimeout(60_000)
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
    async close() {
      await browser.close()
      await server.close()
    },
  }
}

/** What axe finds, each with an element. */
export async function axeFinds(page: Page): Promise<unknown> {
  await page.evaluate(axe)
  return await page.evaluate(
    "axe.run().then(r => r.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html.slice(0, 160)).join(' | ')))",
  )
}
