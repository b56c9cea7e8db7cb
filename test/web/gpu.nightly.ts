// The page on WebGPU, by Chromium's own adapter in software: what it prunes, writes and measures there is what Node finds on the CPU. It takes
// minutes, so that it is a part of the nightly run.
import { afterAll, beforeAll, expect, test } from 'vitest'
import * as node from '../../src/node.ts'
import { TINY_LLAMA, workplaces } from '../fasp.ts'
import { giveText, openSite, prune, TEXT, takeTiny } from './browser.ts'

/** A driver in software takes its time: 448 s where other work had the cores, too. */
const LIMIT = 1_200_000

const workplace = workplaces()
let site: Awaited<ReturnType<typeof openSite>>
beforeAll(async () => {
  site = await openSite(undefined, {}, true)
})
afterAll(() => site.close())

test('the tiny model is pruned, goes on with a text, and is measured', { timeout: LIMIT }, async () => {
  const { page, said } = await site.open()
  page.setDefaultTimeout(LIMIT)
  await takeTiny(page)
  await giveText(page)
  await prune(page)
  expect(await page.getByText('WebGPU fails here').count()).toBe(0)
  await page.getByText('What each layer lost').click()
  const rows = await page.locator('.errors tbody tr').allTextContents()
  const calibration = [{ name: 'your-text.txt', text: async () => TEXT }]
  const options = { sparsity: 0.2, windows: 8, seqLen: 64, calibration, output: `${await workplace()}/out` }
  const { layers } = await node.prune(TINY_LLAMA, options)
  const lost = layers.map(({ ffn }) => `${ffn!.kept.length} of 384.* % *${(100 * ffn!.errorAfter).toFixed(1)} %$`)
  expect(rows).toEqual(lost.map(text => expect.stringMatching(text)))

  await page.getByRole('button', { name: 'Write on' }).click()
  await expect.poll(() => page.getByText('tokens/s').count(), { timeout: LIMIT }).toBe(2)
  const dense = await node.generate(TINY_LLAMA, 'Once upon a time', { maxTokens: 20 })
  const written = await page.getByRole('article', { name: 'As it was' }).locator('p').textContent()
  expect(written!.slice(0, 40)).toBe(`Once upon a time${dense.text}`.slice(0, 40))

  const measured = TEXT.slice(0, 4000)
  await page.getByLabel('Text that the model').fill(measured)
  await page.getByRole('button', { name: 'Measure' }).click()
  await page.getByText('Same next token').waitFor()
  const text = [{ name: 'x', text: async () => measured }]
  const { perplexity } = await node.evaluate(TINY_LLAMA, { text, windows: 32, seqLen: 256 })
  const tile = page.locator('.figures > div').filter({ has: page.getByText('As it was', { exact: true }) })
  expect(Number.parseFloat((await tile.locator('dd').first().textContent())!) / perplexity[0].perplexity).toBeCloseTo(
    1,
    2,
  )
  expect(said.filter(line => /error|fail/i.test(line))).toEqual([])
})
