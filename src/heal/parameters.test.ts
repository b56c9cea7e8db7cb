import fc from 'fast-check'
import { expect, test } from 'vitest'
import { madeModel, modelConfigs } from '../../test/model-shapes.ts'
import type { Context } from '../forward/context.ts'
import { readHalf } from '../forward/weights.ts'
import { normsOf, normTensors } from '../model/half-block.ts'
import { ActivationPool, asBytes } from '../output/activations.ts'
import { storedTensors, TrainedWeights, trainedHalves, trainedSize } from './parameters.ts'

test('weights that half-blocks compute with are stored as they were read, in models of any shape', async () => {
  await fc.assert(
    fc.asyncProperty(modelConfigs, async config => {
      const model = madeModel(config, 3)
      const { tensors } = model.checkpoint
      const { names, halves } = model.architecture
      const found = new Set<string>()
      for (const half of halves) {
        for (const name of normsOf(half).flatMap(normTensors)) found.add(name)
        for (const [name, values] of storedTensors(half, await readHalf(model, half))) {
          expect(Buffer.compare(asBytes(values), asBytes(await tensors.float32(name))), name).toBe(0)
          found.add(name)
        }
      }
      const all = [...tensors.tensors.keys()].filter(name => name.startsWith(`${names.layers}.`))
      expect([...found].sort()).toEqual(all.sort())
    }),
    { numRuns: 40, seed: 1 },
  )
})

test('all that is trained is read back, and other half-blocks are those of the checkpoint', async () => {
  const sizes = { vocab_size: 30, hidden_size: 24, intermediate_size: 10, num_hidden_layers: 2, num_attention_heads: 4 }
  const model = madeModel({ model_type: 'opt', ...sizes, ffn_dim: 10, max_position_embeddings: 64 }, 2)
  const { halves } = model.architecture
  for (const train of ['all', 'ffn'] as const) {
    const context = { pool: new ActivationPool(Infinity) } as Context
    const { trained, weights } = await TrainedWeights.open(context, model, trainedHalves(halves, train))
    const last = weights.batches.at(-1)!
    expect(last.start + last.tokens).toBe(trainedSize(trainedHalves(halves, train)))
    await trained.change({ weights }, ['weights'], ({ weights: w }) => w.set(w.map(v => 2 * v)))
    const healed = trained.healed(weights)
    for await (const half of trained.read(weights, halves)) {
      const factor = trained.isTrained(half.half) ? 2 : 1
      expect(factor).toBe(train === 'all' || half.half.kind === 'ffn' ? 2 : 1)
      for (const [name, values] of storedTensors(half.half, half)) {
        const before = await model.checkpoint.tensors.float32(name)
        expect(values).toEqual(before.map(w => factor * w))
        expect(await healed.checkpoint.tensors.float32(name)).toEqual(values)
      }
      for (const name of normsOf(half.half).flatMap(normTensors))
        expect(await healed.checkpoint.tensors.float32(name)).toEqual(await model.checkpoint.tensors.float32(name))
    }
  }
})
