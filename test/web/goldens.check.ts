// The library in a page, in WebAssembly and on Chromium's WebGPU in software, beside the PyTorch reference (test/fixtures/golden): the same
// columns, but for near ties, and errors; on the GPU as few bytes go over as in Node.
import { cpSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { generate } from '../../src/node.ts'
import { CASES, expectChosen, type GoldenCase, optionsOf } from '../goldens.ts'
import { expectSameForAnyText } from '../moved.ts'
import { withModel } from '../opened.ts'
import { goldenOf, TINY_MODELS, TINY_NAMES, type TinyModel } from '../tiny.ts'
import { openSite } from './browser.ts'
import type { Asked, continued, pruned } from './in-page.ts'

/** In the place of the page what is asked of it here. */
const IN_PAGE = {
  rolldownOptions: {
    input: fileURLToPath(new URL('in-page.ts', import.meta.url)),
    preserveEntrySignatures: 'strict',
    output: { entryFileNames: 'in-page.js' },
  },
} as const

/** A driver in software takes 40 s over a golden. */
const COMPUTED = [
  { by: /^WebAssembly, \d+ threads$/, compute: 'wasm', of: () => true },
  { by: /^WebGPU$/, compute: 'auto', of: (name: string) => name === 'paper-0.3' },
] as const

describe.each(COMPUTED)('$by', ({ by, compute, of }) => {
  let site: Awaited<ReturnType<typeof openSite>>
  let page: Page
  beforeAll(async () => {
    site = await openSite(undefined, IN_PAGE, compute === 'auto')
    for (const name of TINY_NAMES) cpSync(TINY_MODELS[name], join(site.folder, name), { recursive: true })
    writeFileSync(join(site.folder, 'index.html'), '<!doctype html><title>Goldens</title>')
    page = (await site.open()).page
  })
  afterAll(() => site?.close())

  const there = <T>(verb: string, name: TinyModel, asked: object) => {
    const files = readdirSync(TINY_MODELS[name]).map(file => `${site.url}${name}/${file}`)
    const call = `import('/in-page.js').then(page => page.${verb}(${JSON.stringify({ compute, files, ...asked })}))`
    return page.evaluate<T>(call) // as text: what is built for Node is nothing for a page
  }
  const prunedThere = (name: TinyModel, asked: Pick<Asked, 'options' | 'windows'>) =>
    there<Awaited<ReturnType<typeof pruned>>>('pruned', name, asked)

  describe.each(TINY_NAMES)('%s', name => {
    const { cases, calibration_windows: windows } = goldenOf(name)
    test.each((name === 'tiny-opt' ? [...CASES, 'paper-0.3-center'] : CASES).filter(of))(
      '%s',
      { timeout: 300_000 },
      async caseName => {
        const golden: GoldenCase = cases.find((one: GoldenCase) => one.name === caseName)
        const found = await prunedThere(name, { options: optionsOf(golden.options), windows })
        expect(found.engine).toMatch(by)
        expectChosen(found, golden)
      },
    )
  })

  test.each(TINY_NAMES)('%s goes on with a text as in Node', { timeout: 300_000 }, async name => {
    const text = 'The night was dark, and '.repeat(8) // beyond the tokens from which attention on a GPU takes another way
    const { ids, fromDevice } = await there<Awaited<ReturnType<typeof continued>>>('continued', name, { text })
    expect(ids).toEqual((await generate(TINY_MODELS[name], text, { maxTokens: 12, engine: { blas: false } })).ids)
    const { vocabularySize } = await withModel(TINY_MODELS[name], async ({ architecture }) => architecture)
    if (compute === 'auto') expect(fromDevice).toBe(4 * 12 * vocabularySize) // logits, and nothing of the cache
  })

  // Not `runIf`: a test that is skipped counts as failed.
  if (compute === 'auto')
    test('what goes over to the GPU and comes back', { timeout: 300_000 }, async () => {
      const windows: number[][] = goldenOf('tiny-llama').calibration_windows // a batch has 8
      const options = { sparsity: 0.2, method: 'plain' } as const
      const one = await prunedThere('tiny-llama', { options, windows: windows.slice(0, 8) })
      expectSameForAnyText(one, await prunedThere('tiny-llama', { options, windows }))
    })
})
