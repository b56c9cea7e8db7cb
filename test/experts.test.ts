// Mixtures of experts: random models against transformers (test/python/make_families.py), and what their configs and tensors may say.
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { ffnHalves } from '../src/model/architecture.ts'
import { architectureOf, describeModel } from '../src/model/model.ts'
import { exportOnnx, inspect, MemorySink } from '../src/node.ts'
import { familyFolder, type Golden, testLogits } from './families.ts'
import { madeModel } from './model-shapes.ts'
import { engineAndFolder, withModel } from './opened.ts'

const { engine, folder: root } = engineAndFolder()
const FAMILIES = { qwen3_moe: { count: 7, active: 3 }, mixtral: { count: 5, active: 2 } } as const

describe.each(Object.entries(FAMILIES))('%s', (name, experts) => {
  const folder = join(root, name)
  let golden: Golden
  beforeAll(async () => {
    golden = await familyFolder(name, folder)
  })

  testLogits(engine, folder, () => golden)

  test('is described with its experts, and has no graph in ONNX', async () => {
    await withModel(folder, async model => {
      expect(await inspect(model)).toMatchObject({ modelType: name, experts, unused: [] })
      await expect(exportOnnx(model, new MemorySink(), { engine })).rejects.toThrow(
        `${name} models cannot be written as ONNX`,
      )
    })
  })
})

describe('what a config says of experts', () => {
  const sizes = { hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 2, vocab_size: 9 }
  const mixtral = { ...sizes, model_type: 'mixtral', num_key_value_heads: 2 }
  const qwen = {
    ...sizes,
    model_type: 'qwen3_moe',
    num_key_value_heads: 2,
    moe_intermediate_size: 6,
    num_experts: 4,
    num_experts_per_tok: 2,
  }
  const of = (config: object) => ffnHalves(architectureOf('made', { ...config }))[0].experts

  test('in fields of transformers 4 and 5, and what it does not say', () => {
    expect(of(mixtral)).toMatchObject({ router: { out: 8 }, active: 2, normalised: true })
    expect(of(qwen)).toMatchObject({ router: { out: 4 }, active: 2, normalised: false })
    const { num_experts, ...newer } = qwen
    expect(of({ ...newer, num_local_experts: num_experts, norm_topk_prob: true })).toMatchObject({
      router: { out: 4 },
      normalised: true,
    })
  })

  test.each([
    [{ ...mixtral, num_experts_per_tok: 9 }, '"num_experts_per_tok" is 9; it must be an integer from 1 to 8'],
    [{ ...mixtral, num_local_experts: 0 }, '"num_local_experts" is 0; it must be an integer from 1 to 1024'],
    [{ ...qwen, decoder_sparse_step: 2 }, '"decoder_sparse_step" is 2; it must be 1'],
    [{ ...qwen, mlp_only_layers: [0] }, '"mlp_only_layers" is [0]; it must be empty'],
  ])('%j is refused', (config, problem) => {
    expect(() => of(config)).toThrow(problem)
  })

  test.each([
    [
      'an expert that is missing',
      (name: string) => !name.includes('experts.2.up_proj'),
      'experts.2.up_proj.weight [6,8] that config.json calls for is missing',
    ],
    [
      'all but the first',
      (name: string) => !/experts\.[1-9]/.test(name),
      'experts.1.gate_proj.weight [6,8] that config.json calls for is missing',
    ],
  ])('%s', (_, stays, problem) => {
    const { checkpoint } = madeModel(qwen, 1)
    const tensors = new Map([...checkpoint.tensors.tensors].filter(([name]) => stays(name)))
    expect(() => describeModel({ ...checkpoint, tensors: { ...checkpoint.tensors, tensors } })).toThrow(problem)
  })

  test('experts of another number than the router has are refused', () => {
    const { checkpoint } = madeModel(qwen, 1)
    const say = (num_experts: number) => () => describeModel({ ...checkpoint, config: { ...qwen, num_experts } })
    expect(say(3)).toThrow('mlp.gate.weight has shape [4,8]; config.json calls for [3,8]')
    expect(say(5)).toThrow('mlp.gate.weight has shape [4,8]; config.json calls for [5,8]')
    expect(say(1000)).toThrow('calls for 1000 layers, or experts in layers, but there are')
  })
})
