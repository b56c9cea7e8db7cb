// The page with a model of 135 M parameters, the whole way in WebAssembly, and the memory of the process that it runs in.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import * as node from '../../src/node.ts'
import { describeShared, sharedPath } from '../shared.ts'
import { openSite } from './browser.ts'

/** The most that docs/web.md lets people expect, in bytes. */
const MOST_MEMORY = 3e9

let site: Awaited<ReturnType<typeof openSite>>
beforeAll(async () => {
  site = await openSite()
})
afterAll(() => site?.close())

/** Of the browser's processes for pages the largest, at its peak. */
async function peakMemory(browser: Browser): Promise<number> {
  const session = await browser.newBrowserCDPSession()
  const { processInfo } = await session.send('SystemInfo.getProcessInfo')
  const peaks = processInfo
    .filter(({ type }) => type === 'renderer')
    .map(({ id }) => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${id}/status`, 'utf8'))?.[1]) * 1024)
  return Math.max(...peaks)
}

describeShared('SmolLM2 in the page', () => {
  test('SmolLM2 is opened, pruned, and saved', { timeout: 1_800_000 }, async () => {
    const source = execFileSync('bash', [sharedPath('scripts/fetch-smollm2.sh')], { encoding: 'utf8' }).trim()
    const { page, said } = await site.open({ acceptDownloads: true })
    page.setDefaultTimeout(1_500_000)
    await page.locator('input[data-of=files]').setInputFiles(source)
    await page.getByRole('heading', { level: 2, name: basename(source) }).waitFor()
    await page.getByRole('button', { name: 'Next: how much' }).click()
    await page.getByRole('radio', { name: 'Text of mine' }).check()
    const text = readFileSync(new URL('../../LICENSE', import.meta.url), 'utf8')
    await page.getByLabel('Paste text').fill(text)
    await page.getByText('Options of the method').click()
    await page.getByLabel('Windows of text').fill('4')
    await page.getByLabel('Tokens a window').fill('128')
    await page.getByLabel('Compute with').selectOption('wasm')
    await page.getByRole('button', { name: 'Estimate the time' }).click()
    await page.getByText('estimate;').waitFor()
    const figures = await page.locator('.figures').textContent()
    const began = performance.now()
    await page.getByRole('button', { name: 'Prune' }).click()
    await page.getByRole('heading', { level: 1, name: 'What came out' }).waitFor()
    const seconds = (performance.now() - began) / 1000
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Save GGUF' }).click(),
    ])
    const path = join(tmpdir(), `smollm2-page-${process.pid}.gguf`)
    await download.saveAs(path)
    const { parameters } = await node.inspect(path)
    expect(parameters.total / (await node.inspect(source)).parameters.total).toBeCloseTo(0.84, 1)
    const peak = await peakMemory(page.context().browser()!)
    console.log(`${figures}; took ${seconds.toFixed(1)} s, at most ${(peak / 1e9).toFixed(2)} GB`)
    expect(peak).toBeLessThan(MOST_MEMORY)
    expect(said).toEqual([])
  })
})
