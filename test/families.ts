// Models of test/python/make_families.py, and that we compute what transformers does.
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { openFile } from '../src/formats/file.node.ts'
import { openSafetensors } from '../src/formats/safetensors.ts'
import { Decoder } from '../src/forward/decoder.ts'
import { type Engine, logits } from '../src/node.ts'
import { TINY_LLAMA } from './fasp.ts'
import { withModel } from './opened.ts'
import { proves } from './support.ts'

export const LENGTH = 256
export const VOCABULARY = 64
/** Of the largest logit: float32 in two engines that add in different orders. */
const TOLERANCE = 2e-5

/** A window, and its logits [256, 64] in transformers. */
export type Golden = [ids: Int32Array<ArrayBuffer>, logits: Float32Array<ArrayBuffer>]

/** The model in a folder of its own, with a tokenizer. */
export async function familyFolder(name: string, folder: string): Promise<Golden> {
  const fixture = fileURLToPath(new URL(`fixtures/families/${name}`, import.meta.url))
  cpSync(fixture, folder, { recursive: true })
  for (const file of ['tokenizer.json', 'tokenizer_config.json'])
    cpSync(join(TINY_LLAMA, file), join(folder, file), { recursive: true })
  const golden = await openSafetensors(await openFile(join(fixture, 'golden.safetensors')))
  const found: Golden = [new Int32Array((await golden.bytes('ids')).buffer), await golden.float32('logits')]
  await golden.close()
  rmSync(join(folder, 'golden.safetensors'))
  return found
}

export function expectSame(ours: Float32Array, theirs: Float32Array) {
  const size = theirs.reduce((most, v) => Math.max(most, Math.abs(v)), 0)
  expect(size).toBeGreaterThan(0.1)
  expect(ours.length).toBe(theirs.length)
  expect(ours.reduce((worst, v, i) => Math.max(worst, Math.abs(v - theirs[i])), 0) / size).toBeLessThan(TOLERANCE)
}

/** @param golden known once the tests run */
export function testLogits(engine: Engine, folder: string, golden: () => Golden): void {
  test.each([5, 200, LENGTH])('logits of %i tokens are those of transformers', async length => {
    proves('fasp', folder)
    const [ids, expected] = golden()
    const ours = await withModel(folder, model => logits(model, engine, ids.subarray(0, length)))
    expectSame(ours, expected.subarray(0, length * VOCABULARY))
  })

  test('so are those of tokens that come one by one, or a few at once, to a cache', async () => {
    const [ids, expected] = golden()
    await withModel(folder, async model => {
      const decoder = await Decoder.open(model, engine, 1, LENGTH)
      for (let end = 0; end < LENGTH; ) {
        const next = ids.subarray(end, end + (end === 0 ? 40 : end % 7 === 0 ? 4 : 1))
        end += next.length
        expectSame(await decoder.step([next]), expected.subarray((end - 1) * VOCABULARY, end * VOCABULARY))
      }
    })
  })
}
