// All goldens and all presets in a page on Chromium's WebGPU in software: logits and perplexity of what comes out, too, beside PyTorch's; of
// presets on models of each kind what they choose in WebAssembly. It takes a quarter of an hour.
import { describe, test } from 'vitest'
import { openFile } from '../../src/formats/file.node.ts'
import { openSafetensors } from '../../src/formats/safetensors.ts'
import { casesOf, expectMeasured } from '../goldens.ts'
import { goldenLogitsOf, goldenOf, TINY_NAMES } from '../tiny.ts'
import { LIMIT, library, NAMES } from './library.ts'

const { golden, measured, preset } = library()

describe.each(TINY_NAMES)('%s on WebGPU agrees with the reference', name => {
  const { cases, prompt, evaluation_windows: windows } = goldenOf(name)
  const measure = { prompt, windows }
  const theirs = async (caseName: string) => {
    const logits = await openSafetensors(await openFile(goldenLogitsOf(name)))
    try {
      return await logits.float32(caseName)
    } finally {
      await logits.close()
    }
  }

  test('dense', { timeout: LIMIT }, async () =>
    expectMeasured(await measured('auto', name, measure), await theirs('dense'), cases[0]),
  )

  test.each(casesOf(name))('%s', { timeout: LIMIT }, async caseName => {
    const found = await golden('auto', name, caseName, measure)
    expectMeasured(found.measured!, await theirs(caseName), found.golden)
  })
})

describe.each(NAMES)('%s on WebGPU as in WebAssembly', name => {
  test.each(['plain', 'paper', 'stock', 'best', 'flap'])('%s', { timeout: LIMIT }, method => preset(name, method))
})
