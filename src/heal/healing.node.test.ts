// What is trained where the user does not say, of models by the headers of their files alone.
import { describe, expect, test } from 'vitest'
import { withoutWeights } from '../../test/without-weights.ts'
import { describeModel } from '../model/model.ts'
import { type PlanOptions, type ProgressEvent, planPrune } from '../node.ts'
import { type HealingOptions, trainingNotices, trainingOf } from './healing.node.ts'

/** Ten layers of 4 d² + 3 d f weights, with d = 1000. */
const ofWidth = (f: number) => {
  const heads = { num_attention_heads: 10, num_key_value_heads: 10, head_dim: 100 }
  const layers = { num_hidden_layers: 10, hidden_size: 1000, intermediate_size: f, max_position_embeddings: 512 }
  return describeModel(withoutWeights({}, [], { model_type: 'llama', vocab_size: 1024, ...heads, ...layers }))
}
const [BILLION, MORE] = [32000, 32001].map(ofWidth)
const told = expect.stringMatching(
  /^It has more than a billion weights in linear layers: low-rank updates .*--train all/,
)

test('a billion weights are trained each, of more low-rank updates, which is said', () => {
  expect(trainingOf({}, BILLION)).toEqual({ train: 'all', top: 1024 })
  expect(trainingNotices({}, BILLION)).toEqual([])
  expect(trainingOf({}, MORE)).toEqual({ train: 'lora', rank: 16, top: 1024 })
  expect(trainingNotices({ lr: 1e-3 }, MORE)).toEqual([told])
})

test.each<[string, HealingOptions, object]>([
  ['all', { train: 'all' }, { train: 'all' }],
  ['of FFNs', { train: 'ffn', lr: 1e-5 }, { train: 'ffn', lr: 1e-5 }],
  ['low-rank updates', { train: 'lora' }, { train: 'lora', rank: 16 }],
  ['of another rank', { rank: 8 }, { train: 'lora', rank: 8 }],
])('what the user says holds, and needs no words: %s', (_, options, training) => {
  for (const model of [BILLION, MORE]) {
    expect(trainingOf(options, model)).toEqual({ ...training, top: 1024 })
    expect(trainingNotices(options, model)).toEqual([])
  }
})

describe('a plan of pruning and healing', () => {
  const planned = async (options: Partial<PlanOptions>) => {
    const notices: string[] = []
    const onEvent = (event: ProgressEvent) => {
      if (event.type === 'notice') notices.push(event.message)
    }
    const plan = await planPrune(MORE, { sparsity: 0, calibration: ['text.txt'], ...options, onEvent } as PlanOptions)
    return { notices, ...plan.healing! }
  }

  test('goes by the weights that are left, says what is trained, and what that takes', async () => {
    const [lora, all, smaller] = await Promise.all([
      planned({ heal: true }),
      planned({ heal: { train: 'all' } }),
      planned({ heal: true, sparsity: 0.1 }),
    ])
    expect(lora.notices).toContainEqual(told)
    for (const { notices } of [all, smaller]) expect(notices).not.toContainEqual(told)
    expect(all.diskBytes - lora.diskBytes).toBeGreaterThan(20e9 - 2 ** 32) // beyond the budget
  })
})
