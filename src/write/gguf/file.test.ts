// Against llama.cpp's converter (test/fixtures/gguf/make_converted.py), and read back by our own reader. llama.cpp itself: test/llama-cpp.
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { TINY_LLAMA } from '../../../test/fasp.ts'
import { finish } from '../../../test/finish.ts'
import { bool, buildGguf, f32, f32s, f32Tensor, i32s, text, texts, u32 } from '../../../test/gguf-builder.ts'
import {
  EXAONE4,
  GEMMA3,
  GRANITE,
  GRANITE4,
  NEOX,
  OLMO3,
  PHI3,
  QWEN3,
  SMALL_EXAONE4,
} from '../../../test/gguf-families.ts'
import { compactLlama, LLAMA3_ROPE, type MadeModel, randomLlama, writeModel, YARN } from '../../../test/made-models.ts'
import { someOf } from '../../../test/nightly.ts'
import { TINY_OPT, withContext } from '../../../test/tiny.ts'
import { memorySource } from '../../base/bytes.ts'
import { NumericError, UnsupportedModelError } from '../../base/errors.ts'
import { ggufCheckpoint } from '../../checkpoint/gguf.ts'
import { prunedFrom } from '../../checkpoint/pruning-record.ts'
import { type FloatDType, fromFloat32, isDType, toFloat32 } from '../../formats/dtype.ts'
import { openGguf } from '../../formats/gguf.ts'
import { dequantize } from '../../formats/gguf-dequantize.ts'
import type { GgufType } from '../../formats/gguf-layout.ts'
import { quantize } from '../../formats/gguf-quantize.ts'
import type { Floats } from '../../formats/tensors.ts'
import { memoryContext } from '../../forward/context.ts'
import { attentionHalves } from '../../model/architecture.ts'
import type { AttentionHalf } from '../../model/half-block.ts'
import { describeModel, logits, type Model, openCheckpoint, openEngine } from '../../node.ts'
import { MemorySink } from '../../output/sink.ts'
import { verifyExport } from '../verify/verify.ts'
import { gguf } from './file.ts'

const root = mkdtempSync(join(tmpdir(), 'fasp-gguf-'))
const engine = openEngine()
const opened: { close(): Promise<void> }[] = [engine]
afterAll(async () => {
  for (const one of opened) await one.close()
  rmSync(root, { recursive: true })
})

async function open(folder: string): Promise<Model> {
  const checkpoint = await openCheckpoint(folder)
  opened.push(checkpoint)
  return describeModel(checkpoint)
}

let folders = 0
const made = (model: MadeModel) => open(writeModel(join(root, String(folders++)), model, TINY_LLAMA))

/** The file, as our reader has it. */
async function exported(model: Model, dtype: string) {
  const plan = gguf.plan(model, dtype)
  const sink = new MemorySink()
  await finish(plan.write(sink, memoryContext(engine)))
  await sink.commit()
  const file = await openGguf(memorySource(sink.files.get('model.gguf')!, 'model.gguf'))
  const read = async () => describeModel(await ggufCheckpoint(file, 'model.gguf'))
  return { plan, file, read, bytes: sink.files.get('model.gguf')! }
}

const { cases, versions } = JSON.parse(
  readFileSync(new URL('../../../test/fixtures/gguf/converted.json', import.meta.url), 'utf8'),
)
/** What a reader knows of a tensor besides. */
interface Placed {
  readonly name: string
  readonly dtype: string
  readonly offset: number
  readonly byteLength: number
}
const sha256 = (value: unknown) => createHash('sha256').update(JSON.stringify(value)).digest('hex')

describe(`as convert_hf_to_gguf.py of llama.cpp ${versions['llama.cpp']}`, () => {
  test.each(Object.keys(cases))('%s', async dtype => {
    const { file, bytes } = await exported(withContext(await open(TINY_LLAMA), 512), dtype)
    const metadata = [...file.metadata].map(([key, value]) => [key, Array.isArray(value) ? sha256(value) : value])
    const { 'general.size_label': _, ...theirs } = cases[dtype].metadata
    expect(Object.fromEntries(metadata)).toEqual({
      ...theirs,
      'general.name': 'tiny-llama', // there in title case
      'tokenizer.ggml.add_eos_token': false, // the default
      'fasp.version': expect.any(String),
    })
    const digest = createHash('sha256')
    const placed = [...file.tensors.tensors.values()] as unknown as Placed[]
    for (const { name, dtype, offset, byteLength } of placed.sort((a, b) => (a.name < b.name ? -1 : 1)))
      digest.update(`${name} ${dtype} `).update(bytes.subarray(offset, offset + byteLength))
    expect(digest.digest('hex')).toBe(cases[dtype].tensors)
  })
})

const PROMPT = Int32Array.from({ length: 24 }, (_, i) => (i * 37) % 1024)

async function expectSameLogits(model: Model, other: Model, tolerance: number) {
  const [a, b] = [await logits(model, engine, PROMPT), await logits(other, engine, PROMPT)]
  const largest = a.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
  expect(a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - b[i])), 0)).toBeLessThan(tolerance * largest)
}

describe('reads back as the same model', () => {
  test.each<[string, Record<string, unknown>]>([
    ['Llama 3 positions', { rope_parameters: LLAMA3_ROPE }],
    ['linear positions', { rope_scaling: { type: 'linear', factor: 4 }, rope_theta: 5000 }],
    [
      'biases, a separate head, wide heads',
      { attention_bias: true, mlp_bias: true, tie_word_embeddings: false, head_dim: 20 },
    ],
  ])('%s', async (_, changes) => {
    const model = await made(randomLlama(changes, 1))
    const back = await (await exported(model, 'F32')).read()
    await expectSameLogits(model, back, 1e-4)
    expect(back.architecture.tied).toBe(model.architecture.tied)
  })

  test('compact, whatever its widths', async () => {
    const dense = randomLlama({ attention_bias: true, mlp_bias: true, num_hidden_layers: 3 }, 2)
    const layer = fc.record({
      ffn: fc.integer({ min: 1, max: 256 }),
      values: fc.tuple(fc.nat(16), fc.integer({ min: 1, max: 16 })),
    })
    await fc.assert(
      fc.asyncProperty(fc.tuple(layer, layer, layer), async widths => {
        const model = await made(compactLlama(dense, widths))
        const { file, read, plan } = await exported(model, 'F32')
        await expectSameLogits(model, await read(), 1e-4)
        const same = widths.every(({ ffn }) => ffn === widths[0].ffn)
        expect(file.metadata.get('general.architecture')).toBe(same ? 'llama' : 'deci')
        const padded = widths.some(({ values }) => values.some(n => n < 16))
        expect(plan.notices.some(notice => notice.includes('16 a head'))).toBe(padded)
      }),
      { numRuns: 8 },
    )
  })

  test('in every type, rows filled up to whole blocks', async () => {
    const dense = randomLlama({}, 3)
    const widths = [40, 64, 200, 256].map(ffn => ({ ffn, values: [16, 16] }))
    const model = await made(compactLlama(dense, widths))
    for (const dtype of gguf.dtypes) {
      const { file, plan } = await exported(model, dtype)
      const quantized = dtype.startsWith('Q')
      expect(file.metadata.get('deci.feed_forward_length')).toEqual(quantized ? [64, 64, 224, 256] : [40, 64, 200, 256])
      expect(plan.notices.length).toBe(quantized ? 1 : 0)
      expect(file.tensors.tensors.get('blk.0.attn_norm.weight')!.dtype).toBe('F32')
    }
  })
})

test('a pruned model is named as one, and stays so in another type', async () => {
  const { checkpoint, architecture } = await made(randomLlama({}, 5))
  const source = { name: 'big', hubId: 'org/Big' }
  const recipe = { source, options: { method: 'best:alpha=0.5', sparsity: 0.25 } }
  const first = await exported({ architecture, checkpoint: { ...checkpoint, recipe } }, 'F32')
  const described = {
    'general.name': 'Big, pruned 25 %',
    'general.description': expect.stringContaining('Big without 25 % of the weights of its decoder'),
    'general.base_model.count': 1,
    'general.base_model.0.name': 'Big',
    'general.base_model.0.repo_url': 'https://huggingface.co/org/Big',
    'fasp.source': 'big',
    'fasp.method': 'best:alpha=0.5',
    'fasp.sparsity': 0.25,
  }
  expect(Object.fromEntries(first.file.metadata)).toMatchObject(described)
  const read = await first.read()
  expect(prunedFrom(read.checkpoint)).toEqual({
    source: 'big',
    hubId: 'org/Big',
    method: 'best:alpha=0.5',
    sparsity: 0.25,
  })
  expect(Object.fromEntries((await exported(read, 'F16')).file.metadata)).toMatchObject(described)
  const again = { ...recipe, source: { name: 'model.gguf' }, options: { method: 'stock', sparsity: 0.1 } }
  const twice = await exported({ ...read, checkpoint: { ...read.checkpoint, recipe: again } }, 'F32')
  expect(twice.file.metadata.get('general.name')).toBe('Big, pruned 25 %, pruned 10 %')
  expect(twice.file.metadata.get('fasp.source')).toBe('model.gguf')
  expect(twice.file.metadata.has('general.base_model.0.repo_url')).toBe(false)
})

describe('other families: the same tensors and logits, from all layouts', () => {
  const uniform = [160, 160, 160, 160].map(ffn => ({ ffn, values: [16, 16] }))
  const perLayer = [96, 160, 32, 256].map((ffn, i) => ({ ffn, values: [16, 4 * i] }))
  test.each<[string, Record<string, unknown>, string, string]>([
    ['Qwen2', { model_type: 'qwen2' }, 'qwen2', 'qwen2'],
    ['Qwen2, heads of a size of their own', { model_type: 'qwen2', head_dim: 20 }, 'llama', 'qwen2'],
    ['Qwen2, Llama 3 positions', { model_type: 'qwen2', rope_parameters: LLAMA3_ROPE }, 'llama', 'qwen2'],
    ['Mistral', { model_type: 'mistral', tie_word_embeddings: false, sliding_window: null }, 'llama', 'llama'],
  ])('%s', async (_, changes, architecture, family) => {
    const dense = randomLlama(changes, 7)
    const layouts: [MadeModel, string, string][] = [
      [dense, architecture, family],
      [compactLlama(dense, uniform), architecture, family],
      [compactLlama(dense, perLayer), 'deci', `fasp_${family}`],
    ]
    for (const [layout, wanted, type] of layouts) {
      const model = await made(layout)
      for (const dtype of ['F32', 'Q8_0']) {
        const { plan, file, read } = await exported(model, dtype)
        const back = await read()
        expect(file.metadata.get('general.architecture')).toBe(wanted)
        expect(back.checkpoint.config.model_type).toBe(type)
        await finish(verifyExport(memoryContext(engine), plan, back.checkpoint))
        if (dtype === 'F32') await expectSameLogits(model, back, 1e-4)
      }
    }
  })

  test('without the windows, which is said where a text can be longer', async () => {
    const windowed = (window: number) => made(randomLlama({ model_type: 'mistral', sliding_window: window }, 8))
    expect(gguf.plan(await windowed(512), 'F32').notices).toEqual([])
    const { plan, read } = await exported(await windowed(8), 'F32')
    expect(plan.notices).toEqual([expect.stringMatching(/no sliding window .* not the last 8 alone/)])
    await expectSameLogits(await made(randomLlama({}, 8)), await read(), 1e-4)
  })
})

test.each(gguf.dtypes)(
  'a file in %s is written again in that type, whatever most of its weights are in',
  async dtype => {
    const { read } = await exported(await made(randomLlama({ num_hidden_layers: 1 }, 8)), dtype)
    expect(gguf.dtypeFor!(await read())).toBe(dtype)
  },
)

test('rows that are no multiple of 32 are F16 in a quantised file, and that is said', async () => {
  const model = await made(randomLlama({ hidden_size: 72, head_dim: 12, num_key_value_heads: 6 }, 4))
  const { file, plan } = await exported(model, 'Q8_0')
  expect(file.tensors.tensors.get('token_embd.weight')!.dtype).toBe('F16')
  expect(file.tensors.tensors.get('blk.0.ffn_down.weight')!.dtype).toBe('Q8_0')
  expect(plan.notices).toEqual([expect.stringMatching(/^25 tensors are in F16: their rows are no multiples of 32/)])
})

test('a GGUF source gives its tokenizer, names and template as they are, and not what described its size', async () => {
  const source = buildGguf({
    metadata: [
      ['general.architecture', text('llama')],
      ['general.name', text('Name')],
      ['general.size_label', text('7B')],
      ['general.tags', texts(['a', 'b'])],
      ['general.file_type', u32(2)],
      ['llama.block_count', u32(1)],
      ['llama.context_length', u32(64)],
      ['llama.embedding_length', u32(6)],
      ['llama.feed_forward_length', u32(32)],
      ['llama.attention.head_count', u32(1)],
      ['llama.attention.key_length', u32(4)],
      ['llama.attention.layer_norm_rms_epsilon', f32(1e-5)],
      ['tokenizer.ggml.model', text('llama')],
      ['tokenizer.ggml.tokens', texts(['<unk>', '<s>', '</s>', '▁'])],
      ['tokenizer.ggml.scores', f32s([0, 0, 0, 0])],
      ['tokenizer.ggml.token_type', i32s([2, 3, 3, 1])],
      ['tokenizer.ggml.add_space_prefix', bool(false)],
      ['tokenizer.ggml.odd', { type: 'u64', value: 7n }],
      ['tokenizer.chat_template', text('{{ x }}')],
    ],
    tensors: Object.entries({
      'token_embd.weight': [4, 6],
      'output_norm.weight': [6],
      'blk.0.attn_norm.weight': [6],
      'blk.0.attn_q.weight': [4, 6],
      'blk.0.attn_k.weight': [4, 6],
      'blk.0.attn_v.weight': [4, 6],
      'blk.0.attn_output.weight': [6, 4],
      'blk.0.ffn_norm.weight': [6],
      'blk.0.ffn_gate.weight': [32, 6],
      'blk.0.ffn_up.weight': [32, 6],
      'blk.0.ffn_down.weight': [6, 32],
    }).map(([name, shape]) =>
      f32Tensor(
        name,
        shape,
        Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => i / 8),
      ),
    ),
  })
  const before = await openGguf(memorySource(source))
  const { file } = await exported(describeModel(await ggufCheckpoint(before, 'source.gguf')), 'F32')
  const carried = [...before.metadata.keys()].filter(key => /^(tokenizer\.|general\.(name|tags))/.test(key))
  expect(carried).toHaveLength(9)
  for (const key of carried) expect(await file.rawValue(key)).toEqual(await before.rawValue(key))
  expect(file.metadata.has('general.size_label')).toBe(false)
  expect(file.metadata.get('general.file_type')).toBe(0)
  for (const name of before.tensors.tensors.keys()) // Q and K in llama.cpp's order again
    expect(await file.tensors.bytes(name)).toEqual(await before.tensors.bytes(name))
})

test('what llama.cpp does not compute is refused', async () => {
  const model = await made(randomLlama({ hidden_act: 'gelu' }, 5))
  expect(() => gguf.plan(model, 'F32')).toThrow(UnsupportedModelError)
  expect(() => gguf.plan(model, 'F32')).toThrow('llama models cannot be written as GGUF')
})

test('a value beyond float16 stops the export', async () => {
  const large = randomLlama({}, 6)
  large.tensors['model.layers.1.mlp.up_proj.weight'].values[7] = 1e5
  const { write } = gguf.plan(await made(large), 'F16')
  const error = await finish(write(new MemorySink(), memoryContext(engine))).catch(error => error)
  expect(error).toBeInstanceOf(NumericError)
  expect((error as Error).message).toBe(
    'blk.1.ffn_up.weight: 100000 does not fit F16. Write in a wider type, --dtype bf16 or f32.',
  )
})

describe('a large table is never whole in float32', () => {
  const PART = 4 * 2 ** 20 // values: 16 MiB
  test.each(someOf(['F16', 'Q8_0'], dtype => dtype === 'Q8_0'))('%s', async dtype => {
    const [rows, width] = [40_000, 128]
    const config = { hidden_size: width, vocab_size: rows, num_hidden_layers: 1, intermediate_size: 64 }
    const model = await made(randomLlama({ ...config, num_attention_heads: 4, tie_word_embeddings: false }, 9))
    let most = 0
    const watched = (of: Model): Model => {
      const { tensors } = of.checkpoint
      const note = (values: Floats) => {
        most = Math.max(most, values.length)
        return values
      }
      const bytes = async (name: string) => {
        if (tensors.tensors.get(name)!.shape[0] === rows) throw new Error(`${name} is read whole`)
        return await tensors.bytes(name)
      }
      const float32 = async (name: string) => note(await tensors.float32(name))
      const some = async (name: string, ids: Int32Array) => note(await tensors.rows(name, ids))
      return { ...of, checkpoint: { ...of.checkpoint, tensors: { ...tensors, bytes, float32, rows: some } } }
    }
    const { plan, file, read } = await exported(watched(model), dtype)
    expect(most).toBeGreaterThan(PART / 2)
    expect(most).toBeLessThanOrEqual(PART + width)
    for (const [ours, theirs] of [
      ['model.embed_tokens.weight', 'token_embd.weight'],
      ['lm_head.weight', 'output.weight'],
    ]) {
      const values = await model.checkpoint.tensors.float32(ours)
      const type = file.tensors.tensors.get(theirs)!.dtype as GgufType
      const whole = isDType(type) ? fromFloat32(values, type as FloatDType) : quantize(values, type)
      const stored = isDType(type) ? toFloat32(whole, type) : dequantize(whole, type)
      const found = await file.tensors.float32(theirs)
      expect(found.length).toBe(rows * width)
      expect(found.findIndex((value, i) => value !== stored[i])).toBe(-1)
    }
    most = 0
    const expected = { ...plan.expected!, model: watched(model) }
    const back = watched(await read())
    let compared = 0
    for await (const event of verifyExport(memoryContext(engine), { ...plan, expected }, back.checkpoint)) {
      if (event.type === 'progress') compared = event.done
      if (compared === plan.expected!.types.size) break // what follows computes logits
    }
    expect(compared).toBe(plan.expected!.types.size)
    expect(most).toBeGreaterThan(PART / 2)
    expect(most).toBeLessThanOrEqual(PART + width)
  })
})

test('OPT has no architecture in llama.cpp', async () => {
  const model = await open(TINY_OPT)
  expect(() => gguf.plan(model, 'F32')).toThrow(/opt models cannot be written as GGUF: llama.cpp has no architecture/)
})

test.each([
  ['exaone4', { ...EXAONE4, intermediate_size: 32 }, ''],
  ['exaone4', SMALL_EXAONE4, 'the widest'],
  ['olmo2', { model_type: 'olmo2', tie_word_embeddings: false, rope_scaling: { type: 'linear', factor: 4 } }, ''],
  ['olmo2', { ...OLMO3, rope_scaling: { type: 'linear', factor: 4 } }, ''],
  ['olmo2', { ...OLMO3, rope_scaling: { type: 'yarn', factor: 8, original_max_position_embeddings: 64 } }, ''],
  ['olmo2', OLMO3, 'the widest'],
  ['smollm3', { ...QWEN3, model_type: 'smollm3', num_hidden_layers: 8 }, ''],
  ['gemma3', GEMMA3, ''],
  ['gemma3', { ...GEMMA3, sliding_window_pattern: 3 }, ''],
  ['gemma3', GEMMA3, 'the widest'],
  ['phi3', PHI3, ''],
  ['granite', { ...GRANITE, tie_word_embeddings: false, rope_parameters: undefined }, ''],
  ['granite', GRANITE, 'the widest'],
  ['granite', GRANITE4, ''],
  ['granite', { ...GRANITE4, tie_word_embeddings: false, rope_parameters: undefined }, 'the widest'],
  ['mistral3', { ...YARN, model_type: 'ministral3', head_dim: 20 }, ''],
  ['qwen3', { ...QWEN3, rope_scaling: { ...YARN.rope_parameters, mscale: undefined } }, 'the widest'],
  ['qwen3', { ...QWEN3, rope_scaling: { ...YARN.rope_parameters, attention_factor: 1.3 } }, ''],
  ['glm4', { model_type: 'glm4', head_dim: 20, num_attention_heads: 4 }, ''],
  ['glm4', { model_type: 'glm4', head_dim: 20, num_attention_heads: 4, attention_bias: false }, 'the widest'],
  ['phi3', { ...PHI3, rope_scaling: { ...PHI3.rope_scaling, attention_factor: 1.3 } }, 'the widest'],
  ['gptneox', NEOX, ''],
  [
    'gptneox',
    { ...NEOX, use_parallel_residual: false, rope_scaling: { type: 'linear', factor: 4 }, rotary_emb_base: 5000 },
    '',
  ],
  ['qwen3', QWEN3, ''],
  ['qwen3', { ...QWEN3, tie_word_embeddings: false, rope_scaling: { type: 'linear', factor: 4 } }, 'the widest'],
])('%s and back, %j', async (architecture, config, notice) => {
  const whole = randomLlama(config, 7)
  const widths = Array.from({ length: Number(whole.config.num_hidden_layers) }, (_, i) => ({
    ffn: 160 - 9 * i,
    values: i === 1 ? [7, 3] : [20, 20],
  }))
  const model = await made(notice ? compactLlama(whole, widths) : whole)
  const { file, plan, read } = await exported(model, 'F32')
  expect(file.metadata.get('general.architecture')).toBe(architecture)
  expect(plan.notices.join()).toContain(notice)
  expect(plan.notices.join()).not.toContain('no sliding window')
  const again = await read()
  const known = ({ window, rope, scale, parallel }: AttentionHalf) => [window, rope, scale, parallel]
  expect(attentionHalves(again.architecture).map(known)).toEqual(attentionHalves(model.architecture).map(known))
  const ids = Int32Array.from({ length: 40 }, (_, i) => (i * 37) % 1000)
  const [ours, theirs] = [await logits(model, engine, ids), await logits(again, engine, ids)]
  expect(Math.max(...ours.map((v, i) => Math.abs(v - theirs[i])))).toBeLessThan(1e-4)
})

test.each([
  [{ ...GEMMA3, query_pre_attn_scalar: 30 }, 'scaled by 1/√24'],
  [{ ...GEMMA3, layer_types: ['full_attention', ...new Array(7).fill('sliding_attention')] }, 'not every 6th'],
  [{ ...GEMMA3, attention_bias: true }, 'biases'],
  [{ ...QWEN3, model_type: 'smollm3', no_rope_layer_interval: 3 }, 'not every 4th layer goes without rope'],
  [{ ...SMALL_EXAONE4, head_dim: 20 }, 'heads do not fill the embedding'],
  [{ ...EXAONE4, num_hidden_layers: 8 }, 'them with windows in 8 layers'],
  [{ ...SMALL_EXAONE4, num_hidden_layers: 64, intermediate_size: 32 }, 'them without windows in 64 layers'],
  [{ ...OLMO3, tie_word_embeddings: true }, 'a tied head'],
  [{ ...OLMO3, head_dim: 20 }, 'heads do not fill the embedding'],
  [
    { ...OLMO3, rope_parameters: { sliding_attention: { rope_theta: 1e4 }, full_attention: { rope_theta: 1e5 } } },
    'the rope of layer 0, which others have not',
  ],
  [
    { ...OLMO3, rope_parameters: { sliding_attention: { rope_type: 'linear', factor: 2, rope_theta: 1e5 } } },
    'the rope of layer 0, which others have not',
  ],
  [{ ...QWEN3, rope_parameters: LLAMA3_ROPE }, 'a factor for each rotary frequency'],
  [{ ...QWEN3, head_dim: 18, rope_scaling: PHI3.rope_scaling }, 'a factor for each rotary frequency'],
  [{ head_dim: 18, rope_scaling: PHI3.rope_scaling }, 'a factor for each rotary frequency'],
  [{ ...QWEN3, rope_scaling: { ...YARN.rope_parameters, beta_fast: 16 } }, 'beta_fast, beta_slow or truncate'],
  [{ ...PHI3, head_dim: 24, num_attention_heads: 2 }, 'heads do not fill the embedding'],
  [{ ...NEOX, attention_bias: false }, 'them without biases'],
  [{ ...GRANITE4, position_embedding_type: 'nope' }, 'them without rope'],
  [{ ...GRANITE4, attention_bias: true }, 'them with biases'],
  [{ ...NEOX, hidden_act: 'relu' }, 'them without gelu or gelu_tanh in FFNs'],
])('%j has no architecture in llama.cpp', async (config, problem) => {
  const model = await made(randomLlama(config, 8))
  expect(() => gguf.plan(model, 'F32')).toThrow(problem)
})
