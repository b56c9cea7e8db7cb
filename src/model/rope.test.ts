// Against transformers: test/fixtures/rope/make.py.
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { attentionHalves } from './architecture.ts'
import { frequenciesOf } from './half-block.ts'
import { architectureOf } from './model.ts'

interface Case {
  readonly config: Readonly<Record<string, unknown>>
  readonly length: number
  readonly frequencies: readonly number[]
  readonly factor: number
}
const file = new URL('../../test/fixtures/rope/rope.json', import.meta.url)
const cases: Case[] = JSON.parse(readFileSync(file, 'utf8')).cases
const sizes = { num_hidden_layers: 1, vocab_size: 9, intermediate_size: 8 }

test.each(cases)('$config.rope_scaling, $length tokens', ({ config, length, frequencies, factor }) => {
  const [{ rope }] = attentionHalves(architectureOf('made', { ...sizes, ...config }))
  const turned = frequenciesOf(rope!, length).filter(f => f > 0)
  expect(turned).toHaveLength(frequencies.length)
  for (const [i, frequency] of frequencies.entries()) expect(turned[i] / frequency).toBeCloseTo(1, 5)
  expect(rope!.factor ?? 1).toBeCloseTo(factor, 6)
})

test('Ministral 3 has no room beyond the context where it begins to scale queries', () => {
  const rope_parameters = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 100 }
  const config = { ...sizes, model_type: 'ministral3', hidden_size: 8, num_attention_heads: 8, rope_parameters }
  expect(architectureOf('made', config).maxPositions).toBe(100)
})
