import { expect, test, vi } from 'vitest'
import { TINY_LLAMA } from '../../test/fasp.ts'
import { withModel } from '../../test/opened.ts'
import { openEngine } from '../node.ts'
import { memoryContext } from './context.ts'
import { Head } from './head.ts'
import { HalfBlockRunner } from './runner.ts'
import { Stream } from './stream.ts'

test('losses are those of any batches, with room for logits made once', async () => {
  await using engine = await openEngine()
  await withModel(TINY_LLAMA, async model => {
    const [length, width] = [4, model.architecture.hiddenSize]
    const windows = Array.from({ length: 3 }, (_, w) => Int32Array.from({ length }, (_, i) => 5 * w + i))
    const head = await Head.open(model, engine)
    const room = vi.spyOn(head, 'room')
    const losses = async (perBatch: number) => {
      const batches = Array.from({ length: 3 / perBatch }, (_, b) => ({
        ...{ windows: perBatch, start: b * perBatch * length, tokens: perBatch * length },
      }))
      const runner = new HalfBlockRunner(engine, length)
      const stream = await Stream.open(memoryContext(engine), runner, batches, width, async ({ start, tokens }) =>
        Float32Array.from({ length: tokens * width }, (_, i) => Math.sin(start * width + i)),
      )
      return stream.losses(head, windows)
    }
    const all = await losses(3)
    expect(all.every(Number.isFinite)).toBe(true)
    expect(await losses(1)).toEqual(all)
    expect(room).toHaveBeenCalledTimes(2)
  })
})
