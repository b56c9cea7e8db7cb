import { expect, test } from 'vitest'
import { withoutWeights } from '../../test/without-weights.ts'
import { UnsupportedModelError } from '../base/errors.ts'
import { describeModel } from './model.ts'

test('tensors inside a layer that the architecture does not have mean another model', () => {
  const foreign = withoutWeights({}, ['model.layers.0.self_attn.q_norm.weight'])
  expect(() => describeModel(foreign)).toThrow(/q_norm.weight is no part of a llama layer .* Is model_type right/)
})

test('whole numbers are no weights', () => {
  const model = withoutWeights()
  const name = 'model.embed_tokens.weight'
  const tensors = new Map(model.tensors.tensors)
  for (const dtype of ['I8', 'I16', 'I64', 'U8', 'BOOL'] as const) {
    tensors.set(name, { ...tensors.get(name)!, dtype })
    const changed = { ...model, tensors: { ...model.tensors, tensors } }
    expect(() => describeModel(changed)).toThrow(`${name} is of type ${dtype}; weights are floating-point`)
  }
})

test('a model of an unknown type is told the nearest family, and what differs', () => {
  const unknown = withoutWeights({ model_type: 'other' }, ['model.layers.0.self_attn.q_norm.weight'])
  const { tensors } = unknown.tensors
  const all = [...tensors.keys()]
  const without = new Map([...tensors].filter(([name]) => !name.endsWith('up_proj.weight')))
  const changed = { ...unknown, tensors: { ...unknown.tensors, tensors: without } }
  const layers = all.filter(name => name.endsWith('up_proj.weight')).length
  expect(() => describeModel(changed)).toThrow(
    `The nearest is llama: ${all.length - layers - 1} of its ${all.length - 1} tensors are there; ` +
      'model.layers.N.mlp.up_proj.weight are not, or of other shapes; it has none like model.layers.N.self_attn.q_norm.weight. docs/add-a-model.md',
  )
})

test.each<[object, string, string]>([
  [{ hidden_act: 'relu2' }, 'llama', 'hidden_act "relu2"'],
  [
    { layer_types: [...new Array(5).fill('linear_attention'), 'full_attention'], final_logit_softcapping: 30 },
    'llama',
    'layer_types ["linear_attention","full_attention"], final_logit_softcapping 30',
  ],
  [
    { layer_norm_epsilon: 1e-5, dtype: 'float16', attn_scale: null, logit_scale: 0.5 },
    'llama',
    'layer_norm_epsilon 0.00001, logit_scale 0.5',
  ],
  [{ sliding_window: 64, attention_multiplier: 2, residual_multiplier: 2 }, 'granite', 'sliding_window 64'],
])('what the nearest family does not know of the config of a model of an unknown type: %j', (fields, family, says) => {
  const unknown = withoutWeights({ model_type: 'other', ...fields })
  expect(() => describeModel(unknown)).toThrow(
    `The nearest is ${family}: ${unknown.tensors.tensors.size} of its ${unknown.tensors.tensors.size} tensors are there; ` +
      `config.json has what it does not know: ${says}. docs/add-a-model.md`,
  )
})

const LONGROPE = { rope_type: 'longrope', short_factor: new Array(16).fill(1), long_factor: [1] }

const GRANITE4 = { model_type: 'granitemoehybrid', num_local_experts: 0, layer_types: new Array(6).fill('attention') }
const MAMBA = ['mamba', 'attention', 'mamba', 'mamba', 'mamba', 'mamba']

test.each<[object, string]>([
  [{ rms_norm_eps: 1e300 }, '"rms_norm_eps" is 1e+300; it must be a number from 1e-20 to 1000000000000'],
  [{ rms_norm_eps: 1e-300 }, 'it must be a number from'],
  [{ rope_parameters: null, rope_theta: 1e30 }, '"rope_theta" is 1e+30'],
  [{ rope_parameters: { rope_type: 'linear', factor: 1e21 } }, '"factor" is 1e+21'],
  [{ rope_parameters: { rope_type: { toString: 0 } } }, 'rope type an object is not supported'],
  [{ rope_parameters: { rope_type: 'yarn', factor: 0 } }, '"factor" is 0'],
  [
    { model_type: 'phi3', partial_rotary_factor: 0.1 },
    '"partial_rotary_factor" is 0.1; it must be a part of 32 channels',
  ],
  [{ model_type: 'phi3', rope_parameters: LONGROPE }, '"long_factor" is [1]; it must be a list of 16 numbers above 0'],
  [{ model_type: 'granite', residual_multiplier: 'a' }, '"residual_multiplier" is "a"; it must be a number'],
  [{ model_type: 'granitemoehybrid', num_local_experts: 64 }, '"num_local_experts" is 64; it must be 0: of Granite 4'],
  [{ model_type: 'granitemoehybrid' }, '"num_local_experts" is 8; it must be 0'], // as transformers takes it
  [{ ...GRANITE4, layer_types: null }, '"layer_types" is missing; it must be a list of 6, each attention or full_'],
  [
    { ...GRANITE4, layer_types: MAMBA },
    '"layer_types" is ["mamba","attention"]; it must be a list of 6, each attention or',
  ],
  [{ ...GRANITE4, layer_types: ['attention'] }, '"layer_types" is ["attention"]; it must be a list of 6'],
  [
    { ...GRANITE4, position_embedding_type: 'alibi' },
    '"position_embedding_type" is "alibi"; it must be one of rope, nope',
  ],
  [{ ...GRANITE4, shared_intermediate_size: 0 }, '"shared_intermediate_size" is 0; it must be an integer from 1 to'],
  [{ model_type: 'ministral3', rope_parameters: null }, '"rope_parameters" is missing; it must be an object'],
  [{ head_dim: 2 ** 24 }, '"head_dim" is 16777216; it must be an integer from 1 to 16384'],
  [{ hidden_size: { toString: 0 } }, '"hidden_size" is an object; it must be'],
  [{ model_type: { toString: 0 } }, 'model_type an object is not supported'],
])('a config with %j is refused', (changes, problem) => {
  expect(() => describeModel(withoutWeights(changes))).toThrow(UnsupportedModelError)
  expect(() => describeModel(withoutWeights(changes))).toThrow(problem)
})

test('a quantised folder is refused', () => {
  expect(() => describeModel(withoutWeights({ quantization_config: { load_in_4bit: true } }))).toThrow(
    /quantization_config/,
  )
})
