// Reports in Chromium, read as a user reads them: headings, charts, tables, copying, keyboard, dark, print, a narrow screen; and what
// comes from outside stays text. FASP_SCREENSHOTS=folder keeps pictures to look at.
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { reportHtml } from '../../src/report/html.ts'
import type { ResultFile } from '../../src/report/result-file.ts'
import { openChromium } from '../chromium.ts'
import { badLabels, openPage, paleLabels } from './browser.ts'
import { madeResult } from './made-result.ts'

const axe = await readFile(createRequire(import.meta.url).resolve('axe-core'), 'utf8')
const result = madeResult()
const html = await reportHtml(result)
/** Of few models, where every element is looked at. */
const few = await reportHtml({ ...result, runs: result.runs.slice(0, 6) })
/** Of one pruned model: what `fasp prune --report` shows. */
const pruned = await reportHtml({ ...result, command: 'prune', runs: [result.runs[0], result.runs[3]] })

let browser: Browser
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fasp-report-'))
  browser = await openChromium()
})
afterAll(async () => {
  await browser?.close()
  await rm(folder, { recursive: true, force: true })
})

const open = (text = html, options?: BrowserContextOptions) => openPage(browser, folder, text, options)

async function keep(page: Page, name: string): Promise<void> {
  const to = process.env.FASP_SCREENSHOTS
  if (to) await page.screenshot({ path: join(to, `${name}.png`), fullPage: true, timeout: 60_000 })
}

const openDetails = (page: Page) =>
  page.evaluate(() => {
    for (const details of document.querySelectorAll('details')) details.open = true
  })

const sections = ['Perplexity', 'Zero-shot tasks', 'Size', 'Layers', 'What the models write', 'Time', 'How it was made']

test('headings, and links to them', async () => {
  const { page, said, requests } = await open()
  expect(await page.getByRole('heading', { level: 1 }).allTextContents()).toEqual([
    'SmolLM2-135M-Instruct: methods compared',
  ])
  expect(await page.title()).toBe('SmolLM2-135M-Instruct: methods compared')
  expect(await page.getByRole('heading', { level: 2 }).allTextContents()).toEqual(sections)
  const links = page.getByRole('navigation').getByRole('link')
  expect(await links.allTextContents()).toEqual(sections)
  await links.nth(3).click()
  const place = await page.getByRole('heading', { name: 'Layers', exact: true }).boundingBox()
  expect(place!.y).toBeGreaterThan(-1)
  expect(place!.y).toBeLessThan(400)
  await keep(page, 'light')
  expect([said, requests]).toEqual([[], []])
})

test('charts have names, labels that can be read, and values on hover', async () => {
  const { page } = await open()
  const chart = page.getByRole('img', { name: 'Perplexity against size: wikitext2-test.txt, 24 × 1024' })
  expect((await chart.boundingBox())!.width).toBeGreaterThan(600)
  expect(await chart.locator('text').allTextContents()).toEqual(
    expect.arrayContaining(['preset best', 'plain', '↑ magnitude', 'dense 23.27', '30 %']),
  )
  const titles = await chart.locator('title').allTextContents()
  expect(titles).toContain('plain, 30.0 % removed: 57.06')
  for (const name of ['Mean zero-shot accuracy against size', 'Restored error of each layer', 'Where the time went'])
    expect(await page.getByRole('img', { name }).isVisible(), name).toBe(true)
  await openDetails(page)
  expect(await page.getByRole('img', { name: 'Sensitivity of each layer: preset best 30 %' }).isVisible()).toBe(true)
  expect(await badLabels(page)).toEqual([])
})

test('tables say what the charts show', async () => {
  const { page } = await open()
  const table = page.getByRole('table', { name: 'Perplexity: wikitext2-test.txt' })
  expect(await table.getByRole('columnheader').allTextContents()).toEqual(['method', '10 %', '20 %', '30 %', '50 %'])
  const row = table.getByRole('row', { name: 'plain' })
  expect(await row.getByRole('rowheader').textContent()).toBe('plain')
  expect(await row.getByRole('cell').nth(2).textContent()).toBe('57.06 ± 4.57')
  const tasks = page.getByRole('table', { name: 'Zero-shot accuracy.' })
  expect(await tasks.getByRole('row', { name: 'dense' }).getByRole('cell').first().textContent()).toBe('49.0 ± 3.5')
})

test('widths of each layer, in chart and table, once the run is unfolded', async () => {
  const { page } = await open()
  const table = page.getByRole('table', { name: 'Layers of preset best 30 %' })
  expect(await table.isVisible()).toBe(false)
  await page.getByText('preset best 30 %: widths, errors, sensitivity').click()
  expect(await table.isVisible()).toBe(true)
  expect(await table.getByRole('columnheader').allTextContents()).toEqual([
    ...['layer', 'V rows', 'error', 'restored'],
    ...['neurons', 'error', 'restored'],
  ])
  const { after } = result.runs.find(run => run.name === 'preset best' && run.sparsity === 0.3)!.prune!.widths
  const row = table.getByRole('row').filter({ has: page.getByRole('rowheader', { name: '7', exact: true }) })
  const cells = await row.getByRole('cell').allTextContents()
  expect([cells[0], cells[3]]).toEqual([3 * after[7].value, after[7].ffn].map(String))
  const titles = await page.locator('details[open] svg title').allTextContents()
  expect(titles).toContain(`layer 7: ${after[7].ffn} of 1536 neurons`)
})

test('what the models write, beside the prompts', async () => {
  const { page } = await open()
  const table = page.getByRole('table', { name: 'Greedy continuations' })
  expect(await table.getByRole('columnheader').allTextContents()).toEqual([
    ...['model', 'Once upon a time', 'The capital of France is', 'Water boils when'],
  ])
  const text = (model: string) => table.getByRole('row', { name: model }).getByRole('cell').first().textContent()
  expect(await text('dense')).toMatch(/^, and there was a small house by the river, /)
  expect(await text('magnitude 50 %')).toBe(' the the of the, and the of the the.')
})

describe.each(['light', 'dark'] as const)('%s', colorScheme => {
  test.each([
    ['comparison', few],
    ['one model', pruned],
  ])('%s can be read by all', async (name, text) => {
    const { page } = await open(text, { colorScheme })
    const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor)
    expect(background).toBe(colorScheme === 'dark' ? 'rgb(22, 24, 28)' : 'rgb(255, 255, 255)')
    await openDetails(page)
    expect(await paleLabels(page)).toEqual([])
    await keep(page, `${name.replace(' ', '-')}-${colorScheme}`)
    await page.evaluate(axe)
    const found = await page.evaluate(
      "axe.run().then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html.slice(0, 200)))",
    )
    expect(found).toEqual([])
  })
})

describe('copying', () => {
  const pasted = async (page: Page) => {
    await page.evaluate(() => document.body.prepend(document.createElement('textarea')))
    const area = page.locator('textarea').first()
    await area.focus()
    await page.keyboard.press('Control+V')
    return area.inputValue()
  }
  const copy = (page: Page, format: string) =>
    page.getByRole('button', { name: `Copy as ${format}: Perplexity: c4-like.txt` })

  test.each([
    ['TSV', 'method\t10 %\t20 %\t30 %\t50 %\npreset best\t23.09 ± 1.85\t'],
    ['Markdown', '| method | 10 % | 20 % | 30 % | 50 % |\n|---|---:|---:|---:|---:|\n| preset best | 23.09 ± 1.85 |'],
  ])('as %s', async (format, start) => {
    const { page, said } = await open(html, { permissions: ['clipboard-read', 'clipboard-write'] })
    await copy(page, format).click()
    await page.getByText(`Copied as ${format}.`).waitFor()
    expect((await pasted(page)).slice(0, start.length)).toBe(start)
    expect(said).toEqual([])
  })
  test('where a page from a file may not use the clipboard', async () => {
    const { page } = await open()
    await page.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: undefined }))
    await copy(page, 'TSV').focus()
    await page.keyboard.press('Enter')
    await page.getByText('Copied as TSV.').waitFor()
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Copy as TSV') // the focus stays
    expect(await pasted(page)).toContain('flap\t27.22 ± 2.18')
  })
})

test('by keyboard alone', async () => {
  const { page } = await open(pruned)
  await page.keyboard.press('Tab')
  expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to the results')
  expect((await page.locator(':focus').boundingBox())!.x).toBeGreaterThanOrEqual(0)
  const reached = new Set<string>()
  const wanted = await page.locator('a, button, summary, [tabindex="0"]').count()
  for (let i = 0; i < wanted; i++) {
    const { name, outline } = await page.evaluate(() => {
      const focused = document.activeElement!
      const all = [...document.querySelectorAll('a, button, summary, [tabindex="0"]')]
      return { name: `${all.indexOf(focused)} ${focused.tagName}`, outline: getComputedStyle(focused).outlineStyle }
    })
    expect(outline, name).toBe('solid')
    reached.add(name)
    if (name.endsWith('SUMMARY')) await page.keyboard.press('Enter') // what is folded is reached, too
    await page.keyboard.press('Tab')
  }
  expect([...reached].filter(name => name.startsWith('-1'))).toEqual([])
  expect(reached.size).toBe(wanted)
  expect(await page.getByRole('table', { name: 'Options' }).isVisible()).toBe(true)
})

test('in print', async () => {
  const { page } = await open(html, { colorScheme: 'dark', viewport: { width: 700, height: 990 } }) // A4 without margins
  await page.emulateMedia({ media: 'print' })
  expect(await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe('rgb(255, 255, 255)')
  expect(await page.getByRole('button').filter({ visible: true }).count()).toBe(0)
  expect(await page.getByRole('navigation').isVisible()).toBe(false)
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(700)
  expect(await paleLabels(page)).toEqual([])
  await keep(page, 'print')
})

test('on a narrow screen the page does not scroll sideways', async () => {
  const { page } = await open(html, { viewport: { width: 360, height: 700 } })
  await openDetails(page)
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(360)
  await keep(page, 'narrow')
})

describe('what comes from outside stays text', () => {
  const EVIL = [
    '<img src=x onerror="window.hacked=1">',
    '"\'><script>window.hacked=1</script>',
    '</script></style></title></svg><iframe src="https://example.com">',
    '{{main}} $& $1 & <b>',
    '\u0000\u001b[31m\u2028',
  ]
  /** Every text of the result followed by `evil`, the fields left out that have a meaning for the reader. */
  const poison = (value: unknown, evil: string, name = ''): unknown => {
    if (typeof value === 'string') return ['command', 'kind', 'source'].includes(name) ? value : `${value}${evil}`
    if (Array.isArray(value)) return value.map(one => poison(one, evil))
    if (typeof value !== 'object' || value === null) return value
    const keyed = ['seconds', 'engineSeconds', 'outsideSeconds'].includes(name)
    return Object.fromEntries(
      Object.entries(value).map(([key, one]) => [keyed ? `${key}${evil}` : key, poison(one, evil, key)]),
    )
  }
  test.each(EVIL)('%j', async evil => {
    const poisoned = poison({ ...result, runs: result.runs.slice(0, 5) }, evil) as ResultFile
    const { page, said, requests } = await open(await reportHtml(poisoned))
    await openDetails(page)
    const shown = evil.replace(/\p{Cc}/gu, '\ufffd')
    expect(await page.getByRole('heading', { level: 1 }).textContent()).toContain(`SmolLM2-135M-Instruct${shown}`)
    expect(await page.locator('svg text').allTextContents()).toEqual(expect.arrayContaining([`preset best${shown}`]))
    expect(await page.locator('img, iframe, b:not(caption b), script:not([type=module])').count()).toBe(0)
    expect(await page.evaluate(() => 'hacked' in window)).toBe(false)
    expect(await page.getByRole('heading', { level: 2 }).allTextContents()).toEqual(sections)
    expect([said, requests]).toEqual([[], []])
  })
  test('a script that came in all the same would not run', async () => {
    const { page } = await open(html.replace('<main id="main">', '$&<script>window.hacked = 1</script>'))
    expect(await page.evaluate(() => 'hacked' in window)).toBe(false)
  })
})
