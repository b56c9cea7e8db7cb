// The library in a page, in WebAssembly or on Chromium's WebGPU in software, where tests ask things of it.
import { cpSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect } from 'vitest'
import { expectChosen, type GoldenCase, optionsOf } from '../goldens.ts'
import { expectSameChoice, shortWindows, TRAINED, trainedModel } from '../presets.ts'
import { goldenOf, TINY_MODELS, type TinyModel } from '../tiny.ts'
import { openSite } from './browser.ts'
import type { Asked, continued, Measure, measured, Place, pruned } from './in-page.ts'

/** In the place of the page what is asked of it here. */
const IN_PAGE = {
  rolldownOptions: {
    input: fileURLToPath(new URL('in-page.ts', import.meta.url)),
    preserveEntrySignatures: 'strict',
    output: { entryFileNames: 'in-page.js' },
  },
} as const

const MODELS: Readonly<Record<string, string>> = {
  ...TINY_MODELS,
  ...Object.fromEntries(TRAINED.map(name => [name, trainedModel(name)])),
}
/** Names of all that there are. */
export const NAMES = Object.keys(MODELS)

/** What the page says that it computes with. */
const COMPUTED = { wasm: /^WebAssembly, \d+ threads$/, auto: /^WebGPU$/ } as const
type Compute = keyof typeof COMPUTED

/** Parts of the energy: what is left of it is a difference of sums in float32, of either side in an order of its own. */
const FLOOR = 1e-6

/** A driver in software takes 40 s over a golden, on cores of its own. */
export const LIMIT = 1_200_000

/** For one test file: a page that has both. */
export function library() {
  let site: Awaited<ReturnType<typeof openSite>>
  let page: Page
  beforeAll(async () => {
    site = await openSite(undefined, IN_PAGE, true)
    for (const [name, folder] of Object.entries(MODELS)) cpSync(folder, join(site.folder, name), { recursive: true })
    writeFileSync(join(site.folder, 'index.html'), '<!doctype html><title>The library</title>')
    page = (await site.open()).page
  })
  afterAll(() => site?.close())

  /** As text: what is built for Node is nothing for a page. */
  async function call<T extends { readonly engine: string }>(
    what: string,
    compute: Compute,
    name: string,
    asked: object,
  ) {
    const files = readdirSync(MODELS[name]).map(file => `${site.url}${name}/${file}`)
    const given = JSON.stringify({ compute, files, ...asked } satisfies Place)
    const found = await page.evaluate<T>(`import('/in-page.js').then(page => page.${what}(${given}))`)
    expect(found.engine).toMatch(COMPUTED[compute])
    return found
  }
  const prunedThere = (compute: Compute, name: string, asked: Asked) =>
    call<Awaited<ReturnType<typeof pruned>>>('pruned', compute, name, asked)

  return {
    pruned: prunedThere,
    continued: (compute: Compute, name: string, text: string) =>
      call<Awaited<ReturnType<typeof continued>>>('continued', compute, name, { text }),
    measured: (compute: Compute, name: string, asked: Measure) =>
      call<Awaited<ReturnType<typeof measured>>>('measured', compute, name, asked),
    /** Prunes as a golden asks. @returns what is measured of what came out */
    async golden(compute: Compute, name: TinyModel, caseName: string, measure?: Measure) {
      const { cases, calibration_windows: windows } = goldenOf(name)
      const golden: GoldenCase = cases.find((one: GoldenCase) => one.name === caseName)
      const found = await prunedThere(compute, name, { options: optionsOf(golden.options), windows, measure })
      expectChosen({ layers: found.layers, scores: found.selected.map(({ scores }) => scores) }, golden)
      return { golden, measured: found.measured }
    },
    /** Holds a preset on WebGPU against the same in WebAssembly, on few short windows. */
    async preset(name: string, method: string) {
      const { windows, heldOut } = shortWindows(name === 'tiny-opt' ? name : 'tiny-llama')
      const [used, others] = [windows, heldOut!].map(rows => rows.map(row => [...row]))
      const asked = { options: { sparsity: 0.3, method }, windows: used, heldOut: others }
      const [found, expected] = [await prunedThere('auto', name, asked), await prunedThere('wasm', name, asked)]
      expectSameChoice(found, expected, FLOOR)
    },
  }
}
