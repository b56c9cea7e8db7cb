// A page from a file, as a user opens a report.
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Browser, BrowserContextOptions, Page } from 'playwright-core'

export interface Opened {
  readonly page: Page
  /** What went to the console or was thrown. */
  readonly said: readonly string[]
  /** Addresses that the page asked for, its own left out. */
  readonly requests: readonly string[]
}

/** Opens `html` from a file in `folder`. */
export async function openPage(
  browser: Browser,
  folder: string,
  html: string,
  options: BrowserContextOptions = {},
): Promise<Opened> {
  const path = join(folder, 'report.html')
  await writeFile(path, html)
  const own = pathToFileURL(path).href
  const context = await browser.newContext({ viewport: { width: 1100, height: 900 }, ...options })
  context.setDefaultTimeout(10_000)
  const page = await context.newPage()
  const [said, requests]: [string[], string[]] = [[], []]
  page.on('console', message => said.push(message.text()))
  page.on('pageerror', error => said.push(String(error)))
  page.on('request', request => request.url().split('#')[0] !== own && requests.push(request.url()))
  await page.goto(own)
  return { page, said, requests }
}

/** Pairs of texts in pictures that cover each other, and texts that leave their picture. */
export const badLabels = (page: Page): Promise<string[]> =>
  page.evaluate(() =>
    [...document.querySelectorAll('figure svg')].flatMap(svg => {
      const frame = svg.getBoundingClientRect()
      const texts = [...svg.querySelectorAll('text')]
        .map(text => ({ text: text.textContent ?? '', box: text.getBoundingClientRect() }))
        .filter(({ box }) => box.width > 0)
      const outside = texts.filter(({ box }) => box.right > frame.right + 1 || box.left < frame.left - 1)
      const pairs = texts.flatMap((one, i) =>
        texts.slice(i + 1).flatMap(other => {
          const across = Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left)
          const down = Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top)
          return across > 1 && down > 4 ? [`${one.text} / ${other.text}`] : [] // boxes hold the line's leading
        }),
      )
      return [...outside.map(({ text }) => text), ...pairs].map(text => `${svg.getAttribute('aria-label')}: ${text}`)
    }),
  )

/** Colours of texts in pictures that have a contrast below 4.5 to the paper (WCAG 2.2, 1.4.3). */
export const paleLabels = (page: Page): Promise<string[]> =>
  page.evaluate(() => {
    const luminance = (colour: string) => {
      const [r, g, b] = colour.match(/[\d.]+/g)!.map(part => {
        const value = Number(part) / 255
        return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4
      })
      return 0.2126 * r + 0.7152 * g + 0.0722 * b
    }
    const paper = luminance(getComputedStyle(document.body).backgroundColor)
    const colours = [...document.querySelectorAll('figure svg text')].map(text => getComputedStyle(text).fill)
    return [...new Set(colours)].filter(colour => {
      const [low, high] = [luminance(colour), paper].sort((a, b) => a - b)
      return (high + 0.05) / (low + 0.05) < 4.5
    })
  })
