import { expect, test } from 'vitest'
import { withModel } from '../../test/opened.ts'
import { TINY_MODELS } from '../../test/tiny.ts'
import { values } from '../engine/values.ts'
import { openEngine } from '../node.ts'
import { Head, headRows } from './head.ts'

test('large vocabularies have fewer rows of logits at once', () => {
  const rows = [1, 49152, 128256, 131072, 262144, 1e9].map(vocabularySize => headRows({ vocabularySize }))
  expect(rows).toEqual([256, 256, 256, 256, 128, 1])
})

test.each(['tiny-llama', 'tiny-opt'] as const)('a table that is read in parts gives %s the same logits', async name => {
  await using engine = await openEngine()
  await withModel(TINY_MODELS[name], async model => {
    const { hiddenSize, vocabularySize, embeddingSize } = model.architecture
    const x = Float32Array.from({ length: 3 * hiddenSize }, (_, i) => Math.sin(i))
    const logits = async (part?: number) => {
      const found = new Float32Array(3 * vocabularySize)
      const room = { ...values(found, [3, vocabularySize]), arrive: () => expect.fail('all of it is written here') }
      const head = await Head.open(model, engine, undefined, part ? { held: 0, part } : undefined)
      await head.logits(x, room)
      return found
    }
    const whole = await logits()
    for (const rows of [1000, 7, 1]) {
      const parts = await logits(4 * rows * embeddingSize)
      expect(Math.max(...parts.map((v, i) => Math.abs(v - whole[i])))).toBeLessThan(1e-5)
    }
  })
})
