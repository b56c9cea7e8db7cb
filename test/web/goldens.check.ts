// The library in a page, in WebAssembly, beside the PyTorch reference (test/fixtures/golden): the same columns, but for near ties, and errors.
import { readdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { createServer, type ViteDevServer } from 'vite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CASES, expectChosen, type GoldenCase, optionsOf } from '../goldens.ts'
import { goldenOf, TINY_MODELS, TINY_NAMES } from '../tiny.ts'
import { openPages } from './browser.ts'
import type { pruned } from './in-page.ts'

const ADDRESSES = { 'tiny-llama': '/assets/tiny-llama/', 'tiny-opt': '/test/fixtures/tiny-opt/' }
/** For threads. */
const ISOLATED = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' }

let server: ViteDevServer
let pages: Awaited<ReturnType<typeof openPages>>
let page: Page
beforeAll(async () => {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const configFile = `${root}web/vite.config.ts`
  server = await createServer({
    configFile,
    root,
    server: { port: 0, hmr: false, headers: ISOLATED },
    logLevel: 'error',
  })
  await server.listen()
  pages = await openPages()
  page = (await pages.open(`${server.resolvedUrls!.local[0]}package.json`)).page // any document of that server
})
afterAll(async () => {
  await pages?.close()
  await server?.close()
})

describe.each(TINY_NAMES)('%s', name => {
  const { cases, calibration_windows: windows } = goldenOf(name)
  test.each(name === 'tiny-opt' ? [...CASES, 'paper-0.3-center'] : CASES)(
    '%s',
    { timeout: 300_000 },
    async caseName => {
      const golden: GoldenCase = cases.find((one: GoldenCase) => one.name === caseName)
      const files = readdirSync(TINY_MODELS[name]).map(file => `${ADDRESSES[name]}${file}`)
      const asked = { files, options: optionsOf(golden.options), windows }
      const call = `import('/test/web/in-page.ts').then(page => page.pruned(${JSON.stringify(asked)}))`
      const found = await page.evaluate<Awaited<ReturnType<typeof pruned>>>(call) // as text: what is built for Node is nothing for a page
      expect(found.engine).toMatch(/^WebAssembly, \d+ threads$/)
      expectChosen(found, golden)
    },
  )
})
