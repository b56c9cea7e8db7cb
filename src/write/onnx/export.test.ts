// Exports of made models of any shape: `exportOnnx` compares each with our own forward pass, and these tests with what a file must not do.
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { finish } from '../../../test/finish.ts'
import { madeModel, modelConfigs } from '../../../test/model-shapes.ts'
import { NIGHTLY } from '../../../test/nightly.ts'
import { NumericError } from '../../base/errors.ts'
import { floatSource } from '../../checkpoint/float-source.ts'
import { openEngine } from '../../engine/engine.node.ts'
import { attentionHalves, tensorShapes } from '../../model/architecture.ts'
import { MemorySink } from '../../output/sink.ts'
import { ONNX_DTYPES, type OnnxDtype } from './dtypes.ts'
import { exportOnnx, onnxBytes } from './export.ts'

const engine = openEngine({ threads: 1 })
afterAll(() => engine.close())

/** What rounding the activations costs at most, in nats; random weights pass it on more than trained ones. */
const DIVERGENCE: Record<OnnxDtype, number> = { fp32: 1e-9, fp16: 1e-3, q8: 0.1, q4: 0.1, q4f16: 0.1 }
/**
 * A norm of an output that is nearly 0 makes the order of its sums count: up to 2.4e-7 in 1,500 made models, 3.4e-12 in others; in dtypes but
 * fp32 what rounds activations, too: beyond the above in one of some 400, and with such an ε in none of 5,000.
 */
const NORMED = { types: /gemma3|olmo|exaone4|glm4/, divergence: 1e-6, rounded: { rms_norm_eps: 1 } }

test('every shape computes what we compute, in every dtype, with a cache as wide as its values', async () => {
  await fc.assert(
    fc.asyncProperty(modelConfigs, fc.nat(1e6), fc.constantFrom(...ONNX_DTYPES), async (config, seed, dtype) => {
      const isNormed = NORMED.types.test(String(config.model_type))
      const model = madeModel({ ...config, ...(isNormed && dtype !== 'fp32' ? NORMED.rounded : {}) }, seed)
      const sink = new MemorySink()
      const [file] = await finish(exportOnnx(model, sink, { engine, dtypes: [dtype] }))
      expect(file.divergence).toBeLessThan(Math.max(DIVERGENCE[dtype], isNormed ? NORMED.divergence : 0))
      expect(onnxBytes(model, [dtype])).toBe(file.bytes)
      const open = await engine.open(sink.files.get(file.file)!)
      const cache = open.inputs.filter(({ name }) => name.startsWith('past_key_values'))
      const shapes = attentionHalves(model.architecture).map(({ kvHeads, headSize, values }) => {
        const shape = (width: number) => ['batch_size', kvHeads, 'past_sequence_length', width]
        return [shape(headSize), shape(Math.max(...values))]
      })
      expect(cache.map(input => input.isTensor && input.shape)).toEqual(shapes.flat())
      await open.close()
    }),
    { numRuns: NIGHTLY ? 60 : 20 },
  )
})

const LLAMA = {
  model_type: 'llama',
  vocab_size: 40,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  max_position_embeddings: 64,
}

test.each<[string, number, RegExp]>([
  ['weights', 1e6, /gate_proj.weight has values that do not fit float16/],
  ['activations', 300, /activations of this model do not fit float16/],
])('%s beyond float16 are refused, and nothing is left', async (_, factor, message) => {
  const made = madeModel(LLAMA, 1)
  const tensors = floatSource(tensorShapes(made.architecture), async name => {
    const values = await made.checkpoint.tensors.float32(name)
    return /gate|up/.test(name) ? values.map(v => v * factor) : values
  })
  const model = { ...made, checkpoint: { ...made.checkpoint, tensors } }
  const sink = new MemorySink()
  const error = await finish(exportOnnx(model, sink, { engine, dtypes: ['fp32', 'fp16'] })).catch(error => error)
  expect(error).toBeInstanceOf(NumericError)
  expect(error.message).toMatch(message)
  expect(sink.files.size).toBe(0)
})
