import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { finish } from '../base/events.ts'
import { memoryContext } from '../forward/context.ts'
import { openEngine, openModel } from '../node.ts'
import { SELF_TEXT, sampleWindows } from './sample.ts'

test('windows that are held out are written after the others, which they leave as they are', async () => {
  await using model = await openModel(fileURLToPath(new URL('../../assets/tiny-llama', import.meta.url)))
  await using engine = openEngine()
  const write = (windows: number, heldOut: number) =>
    finish(sampleWindows(memoryContext(engine), model, { windows, heldOut, seqLen: 8, seed: 0 }))
  const { windows, heldOut, texts } = await write(65, 2)
  expect([windows.length, heldOut!.length]).toEqual([65, 2])
  expect(texts).toEqual([{ name: SELF_TEXT, tokens: 67 * 8, available: 67, used: 65, heldOut: 2 }])
  const alone = await write(64, 0)
  expect(alone.windows).toEqual(windows.slice(0, 64))
  expect(alone.heldOut).toEqual([])
})

test('each window begins with what it is given to begin with, and goes on', async () => {
  await using model = await openModel(fileURLToPath(new URL('../../assets/tiny-llama', import.meta.url)))
  await using engine = openEngine()
  const starts = [Int32Array.of(5, 6, 7), new Int32Array(), new Int32Array(20).fill(9)]
  const asked = { windows: 129, heldOut: 1, seqLen: 16, seed: 3, starts } // 64, 64 and 2 at a time
  const { windows } = await finish(sampleWindows(memoryContext(engine), model, asked))
  for (const [i, ids] of windows.entries()) {
    if (i % 3 === 0) expect([...ids.subarray(0, 3)]).toEqual([5, 6, 7])
    if (i % 3 === 1) expect(ids[0]).toBe(model.checkpoint.config.bos_token_id)
    if (i % 3 === 2) expect(ids).toEqual(starts[2].subarray(0, 16))
  }
  expect(new Set(windows.map(String)).size).toBe(2 * 43 + 1)
})
