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
  const widths = page.getByRole('img', { name: 'Width of each layer: preset best 30 %' })
  expect(await widths.isVisible()).toBe(false) // folded
  expect(await page.getByRole('img', { name: 'Mean zero-shot accuracy against size' }).isVisible()).toBe(true)
  await openDetails(page)
  expect(await widths.isVisible()).toBe(true)
  expect(await page.getByRole('img', { name: 'Error of each layer: preset best 30 %' }).isVisible()).toBe(true)
  expect(await badLabels(page)).toEqual([])
})

test('tables say what the charts show, all of a text in one', async () => {
  const { page } = await open()
  const table = page.getByRole('table', { name: 'Perplexity: wikitext2-test.txt' })
  const head = ['model', 'perplexity', 'than dense', 'bits per byte', 'KL', 'same token']
  expect(await table.getByRole('columnheader').allTextContents()).toEqual(head)
  const row = table.getByRole('row', { name: 'plain 30 %' })
  expect(await row.getByRole('cell').allTextContents()).toEqual([
    ...['57.06 ± 4.57', '2.5 ×', '1.3569', '0.4140', '75.1 %'],
  ])
  const tasks = page.getByRole('table', { name: 'Zero-shot accuracy', exact: true })
  expect(await tasks.getByRole('row', { name: 'dense' }).getByRole('cell').first().textContent()).toBe('49.0 ± 3.5')
  const sizes = page.getByRole('table', { name: 'Size, time and memory' })
  expect(await sizes.getByRole('row', { name: 'dense' }).getByRole('cell').nth(2).textContent()).toBe('269.0 MB')
})

test('first what it is about: of one model its size, loss and speed, of several which lost least', async () => {
  const tiles = async (text: string) => {
    const { page } = await open(text)
    return page.locator('.figures div').evaluateAll(all => all.map(one => [...one.children].map(c => c.textContent)))
  }
  expect((await tiles(pruned)).slice(0, 7)).toEqual([
    ['File size', '−23.7 %269.0 MB → 205.3 MB'],
    ['Parameters', '−23.7 %134.5 M → 102.7 M'],
    ['Perplexity on held-out text', '+51 %'],
    ['Perplexity on wikitext2-test.txt', '+76 %23.27 → 40.96'],
    ['Perplexity on c4-like.txt', '2.1 ×18.77 → 39.15'],
    ['Same next token as dense', '82.9 %KL 0.2610'],
    ['Speed of a prompt', '1.20 ×310 → 372 tokens/s where it was pruned'],
  ])
  expect((await tiles(html))[2]).toEqual([
    'Least loss at 30 %',
    'preset best: 40.96+76 % perplexity on wikitext2-test.txt, 24 × 1024; next preset stock: 48.82',
  ])
})

test('widths of each layer, in chart and table, once the run is unfolded', async () => {
  const { page } = await open()
  const table = page.getByRole('table', { name: 'Layers of preset best 30 %' })
  expect(await table.isVisible()).toBe(false)
  await page.getByText('preset best 30 %: widths, errors, sensitivity').click()
  expect(await table.isVisible()).toBe(true)
  expect(await table.getByRole('columnheader').allTextContents()).toEqual([
    ...['layer', 'V rows', 'error', 'restored', 'held out'],
    ...['neurons', 'error', 'restored', 'held out'],
  ])
  const { after } = result.runs.find(run => run.name === 'preset best' && run.sparsity === 0.3)!.prune!.widths
  const row = table.getByRole('row').filter({ has: page.getByRole('rowheader', { name: '7', exact: true }) })
  const cells = await row.getByRole('cell').allTextContents()
  expect([cells[0], cells[4]]).toEqual([3 * after[7].value, after[7].ffn].map(String))
  const titles = await page.locator('details[open] svg title').allTextContents()
  expect(titles).toContain(`layer 7: ${after[7].ffn} of 1536 neurons`)
})

test('what the models write after the prompts, marked where it leaves what the dense one writes', async () => {
  const { page } = await open()
  const table = page.getByRole('table', { name: 'Greedy continuations' })
  expect(await table.getByRole('columnheader').allTextContents()).toEqual([
    ...['model', 'Once upon a time', 'The capital of France is', 'Water boils when'],
  ])
  const cell = (model: string) => table.getByRole('row', { name: model }).getByRole('cell').first()
  expect(await cell('dense').textContent()).toMatch(/^Once upon a time, and there was a small house by the river, /)
  expect(await cell('magnitude 50 %').textContent()).toBe('Once upon a time the the of the, and the of the the.')
  expect(await cell('magnitude 50 %').locator('mark').allTextContents()).toEqual(['the'])
  expect(await cell('dense').locator('mark').count()).toBe(0)
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
  const copy = (page: Page) => page.getByRole('button', { name: 'Copy: Perplexity: c4-like.txt' })
  const start =
    '| model | perplexity | than dense | bits per byte | KL | same token |\n|---|---:|---:|---:|---:|---:|\n| dense | 18.77 ± 1.50 |'

  test('as Markdown where text is wanted, as a table elsewhere', async () => {
    const { page, said } = await open(html, { permissions: ['clipboard-read', 'clipboard-write'] })
    await copy(page).hover()
    await copy(page).click()
    await page.getByText('Copied.').waitFor()
    expect((await pasted(page)).slice(0, start.length)).toBe(start)
    const table = await page.evaluate(async () => {
      const [item] = await navigator.clipboard.read()
      return (await item.getType('text/html')).text()
    })
    expect(table).toMatch(/<table.*<th scope="row".*>dense<\/th>/s)
    expect(said).toEqual([])
  })
  test('where a page from a file may not use the clipboard', async () => {
    const { page } = await open()
    await page.evaluate(() => Object.defineProperty(navigator, 'clipboard', { value: undefined }))
    await copy(page).focus()
    await page.keyboard.press('Enter')
    await page.getByText('Copied.').waitFor()
    expect(await page.evaluate(() => document.activeElement?.getAttribute('aria-label'))).toContain('c4-like') // the focus stays
    expect(await pasted(page)).toContain('| flap 10 % | 27.22 ± 2.18 |')
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
  const letters = await page
    .locator('figure svg text')
    .first()
    .evaluate(text => text.getBoundingClientRect().height)
  expect(letters).toBeGreaterThan(10)
  for (const caption of await page.locator('.caption:visible').all())
    expect((await caption.boundingBox())!.width).toBeLessThanOrEqual(360) // none is cut by what scrolls
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
    expect(await page.locator('img, iframe, b:not(.caption b), script:not([type=module])').count()).toBe(0)
    expect(await page.evaluate(() => 'hacked' in window)).toBe(false)
    expect(await page.getByRole('heading', { level: 2 }).allTextContents()).toEqual(sections)
    expect([said, requests]).toEqual([[], []])
  })
  test('a script that came in all the same would not run', async () => {
    const { page } = await open(html.replace('<main id="main">', '$&<script>window.hacked = 1</script>'))
    expect(await page.evaluate(() => 'hacked' in window)).toBe(false)
  })
})
