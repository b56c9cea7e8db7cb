// A file that is not what was to be written does not pass: single bytes of an export are changed.
import { afterAll, expect, test } from 'vitest'
import { finish } from '../../../test/finish.ts'
import { memorySource } from '../../base/bytes.ts'
import { OutputError } from '../../base/errors.ts'
import { ggufCheckpoint } from '../../checkpoint/gguf.ts'
import { openGguf } from '../../formats/gguf.ts'
import { memoryContext } from '../../forward/context.ts'
import { describeModel, openCheckpoint, openEngine } from '../../node.ts'
import { MemorySink } from '../../output/sink.ts'
import { gguf } from '../gguf/file.ts'
import { verifyExport } from './verify.ts'

const engine = openEngine()
const context = memoryContext(engine)
const checkpoint = await openCheckpoint(new URL('../../../assets/tiny-llama', import.meta.url).pathname)
const model = describeModel(checkpoint)
afterAll(async () => {
  await checkpoint.close()
  await engine.close()
})

type Bytes = Uint8Array<ArrayBuffer>

/** The result of verifying an export that `change` has had in its hands. */
async function verified(dtype: string, change: (bytes: Bytes, offsetOf: (tensor: string) => number) => void) {
  const plan = gguf.plan(model, dtype)
  const sink = new MemorySink()
  await finish(plan.write(sink, context))
  await sink.commit()
  const bytes = sink.files.get('model.gguf')!
  const { tensors } = await openGguf(memorySource(bytes))
  change(bytes, tensor => (tensors.tensors.get(tensor) as unknown as { offset: number }).offset)
  const written = await ggufCheckpoint(await openGguf(memorySource(bytes)), 'model.gguf')
  return finish(verifyExport(context, plan, written)).catch(error => error)
}

/** First byte after a text in the header. */
function after(bytes: Bytes, text: string): number {
  const at = Buffer.from(bytes.buffer).indexOf(text)
  expect(at).toBeGreaterThan(0)
  return at + text.length
}

test.each(gguf.dtypes)('%s as written passes, with one weight changed it does not', async dtype => {
  expect(await verified(dtype, () => {})).toBeUndefined()
  const error = await verified(dtype, (bytes, offsetOf) => {
    const scale = offsetOf('blk.3.ffn_up.weight') + (dtype === 'Q6_K' ? 209 : 1)
    bytes[scale] ^= 0x40 // the exponent of a value, or of a scale
  })
  expect(error).toBeInstanceOf(OutputError)
  expect(error.message).toMatch(
    /^the export does not read back: model\.layers\.3\.mlp\.up_proj\.weight is wrong at element \d+\./,
  )
})

test('Q and K in the order of transformers do not pass', async () => {
  const error = await verified('F32', (bytes, offsetOf) => {
    const row = 128 * 4
    const at = offsetOf('blk.0.attn_q.weight') + row
    bytes.copyWithin(at, at + row, at + 2 * row)
  })
  expect(error.message).toContain('model.layers.0.self_attn.q_proj.weight is wrong at element ')
})

test.each([
  ['llama.rope.freq_base', 'its logits differ'],
  ['llama.attention.layer_norm_rms_epsilon', 'its logits differ'],
])('another %s does not pass', async (key, problem) => {
  const error = await verified('F16', bytes => {
    const at = after(bytes, key) + 4 // the type number
    new DataView(bytes.buffer).setFloat32(at, 4 * new DataView(bytes.buffer).getFloat32(at, true) + 0.01, true)
  })
  expect(error.message).toContain(problem)
})

test('another tokenizer, or one that cannot be read back, does not pass', async () => {
  const swap = await verified('F16', bytes => {
    const at = after(bytes, 'tokenizer.ggml.add_bos_token') + 4
    bytes[at] ^= 1
  })
  expect(swap.message).toContain('its tokenizer gives other ids')
})

test('what cannot be read back as a model does not pass', async () => {
  const broken = { ...checkpoint, config: { ...checkpoint.config, model_type: 'other' } }
  const error = await finish(verifyExport(context, gguf.plan(model, 'F16'), broken)).catch(error => error)
  expect(error).toBeInstanceOf(OutputError)
  expect(error.message).toMatch(/^the export does not read back: .* model_type "other" is not supported/)
})
