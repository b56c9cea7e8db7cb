import { expect, test } from 'vitest'
import { withoutWeights } from '../../test/without-weights.ts'
import { describeModel } from './model.ts'

test('tensors inside a layer that the architecture does not have mean another model', () => {
  const foreign = withoutWeights({}, ['model.layers.0.self_attn.q_norm.weight'])
  expect(() => describeModel(foreign)).toThrow(/q_norm.weight is no part of a llama layer .* Is model_type right/)
})

test('a quantised folder is refused', () => {
  expect(() => describeModel(withoutWeights({ quantization_config: { load_in_4bit: true } }))).toThrow(
    /quantization_config/,
  )
})
