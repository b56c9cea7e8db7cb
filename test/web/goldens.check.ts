// The library in a page, in WebAssembly and on Chromium's WebGPU in software, beside the PyTorch reference (test/fixtures/golden): the same
// columns, but for near ties, and errors; on the GPU as few bytes go over as in Node. Nightly all of them.
import { describe, expect, test } from 'vitest'
import { generate } from '../../src/node.ts'
import { casesOf, stands } from '../goldens.ts'
import { expectSameForAnyText } from '../moved.ts'
import { nightly, someOf } from '../nightly.ts'
import { withModel } from '../opened.ts'
import { goldenOf, TINY_MODELS, TINY_NAMES } from '../tiny.ts'
import { LIMIT, library } from './library.ts'

const { continued, golden, pruned, preset } = library()

describe.each(TINY_NAMES)('%s', name => {
  test.each(someOf(casesOf(name), stands))('%s, WebAssembly', { timeout: LIMIT }, async caseName => {
    await golden('wasm', name, caseName)
  })
})

test('tiny-llama, paper-0.3, WebGPU', { timeout: LIMIT }, async () => {
  await golden('auto', 'tiny-llama', 'paper-0.3')
})

const PRESETS = [
  ['tiny-opt', 'paper'],
  ['tiny-gemma3', 'stock'],
] as const
test.each(someOf(PRESETS, ([name]) => name === 'tiny-gemma3'))(
  '%s by %s on WebGPU as in WebAssembly',
  { timeout: LIMIT },
  preset,
)

describe.each(['wasm', 'auto'] as const)('%s', compute => {
  test.each(someOf(TINY_NAMES, name => name !== 'tiny-opt'))(
    '%s goes on with a text as in Node',
    { timeout: LIMIT },
    async name => {
      const text = 'The night was dark, and '.repeat(8) // beyond the tokens from which attention on a GPU takes another way
      const { ids, fromDevice } = await continued(compute, name, text)
      expect(ids).toEqual((await generate(TINY_MODELS[name], text, { maxTokens: 12, engine: { blas: false } })).ids)
      const { vocabularySize } = await withModel(TINY_MODELS[name], async ({ architecture }) => architecture)
      if (compute === 'auto') expect(fromDevice).toBe(4 * 12 * vocabularySize) // logits, and nothing of the cache
    },
  )
})

nightly('what goes over to the GPU and comes back', { timeout: LIMIT }, async () => {
  const windows: number[][] = goldenOf('tiny-llama').calibration_windows // a batch has 8
  const options = { sparsity: 0.2, method: 'plain' } as const
  const one = await pruned('auto', 'tiny-llama', { options, windows: windows.slice(0, 8) })
  expectSameForAnyText(one, await pruned('auto', 'tiny-llama', { options, windows }))
})
