import { describe, expect, test } from 'vitest'
import {
  type BuiltTensor,
  type BuiltValue,
  f32,
  f32s,
  f32Tensor,
  ggufSource,
  i32s,
  oneLayer,
  text,
  texts,
  u32,
} from '../../test/gguf-builder.ts'
import { FormatError, UnsupportedModelError, UsageError } from '../base/errors.ts'
import { openGguf } from '../formats/gguf.ts'
import { ggufCheckpoint } from './gguf.ts'

/** One layer: hidden 6, 2 heads of 4, 1 KV head, FFN 32, 4 tokens. */
const METADATA: Record<string, BuiltValue> = {
  ...oneLayer(6),
  'llama.rope.freq_base': f32(500000),
  'tokenizer.ggml.model': text('llama'),
  'tokenizer.ggml.tokens': texts(['<unk>', '<s>', '</s>', '▁']),
  'tokenizer.ggml.scores': f32s([0, 0, 0, 0]),
  'tokenizer.ggml.token_type': i32s([2, 3, 3, 1]),
  'tokenizer.ggml.bos_token_id': u32(1),
  'tokenizer.ggml.eos_token_id': u32(2),
}
const SHAPES: Record<string, number[]> = {
  'token_embd.weight': [4, 6],
  'blk.0.attn_norm.weight': [6],
  'blk.0.attn_q.weight': [8, 6],
  'blk.0.attn_k.weight': [4, 6],
  'blk.0.attn_v.weight': [4, 6],
  'blk.0.attn_output.weight': [6, 8],
  'blk.0.ffn_norm.weight': [6],
  'blk.0.ffn_gate.weight': [32, 6],
  'blk.0.ffn_up.weight': [32, 6],
  'blk.0.ffn_down.weight': [6, 32],
  'output_norm.weight': [6],
}
/** The metadata as those of another architecture. */
const of = (architecture: string, more: Record<string, BuiltValue | undefined>): Changes['metadata'] => ({
  ...Object.fromEntries(Object.entries(METADATA).map(([key, value]) => [key.replace(/^llama/, architecture), value])),
  ...{ 'general.architecture': text(architecture), ...more },
})
const filled = (name: string, shape: number[]): BuiltTensor =>
  f32Tensor(
    name,
    shape,
    Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i),
  )

interface Changes {
  metadata?: Record<string, BuiltValue | undefined>
  shapes?: Record<string, number[] | undefined>
  replace?: BuiltTensor[]
}
async function open({ metadata = {}, shapes = {}, replace = [] }: Changes = {}) {
  const pairs = Object.entries({ ...METADATA, ...metadata }).filter((pair): pair is [string, BuiltValue] => !!pair[1])
  const entries = Object.entries({ ...SHAPES, ...shapes }).filter((pair): pair is [string, number[]] => !!pair[1])
  const tensors = entries.map(([name, shape]) => replace.find(t => t.name === name) ?? filled(name, shape))
  return ggufCheckpoint(await openGguf(ggufSource({ metadata: pairs, tensors })), 'built.gguf')
}
/** First column, divided by the row length: the number of the row in the file. */
const rowOrder = (values: Float32Array, columns: number) =>
  Array.from({ length: values.length / columns }, (_, row) => values[row * columns] / columns)

/** The metadata with the keys of another architecture. */
const asArchitecture = (name: string): Changes['metadata'] => ({
  ...Object.fromEntries(
    Object.entries(METADATA).flatMap(([key, value]) =>
      key.startsWith('llama.')
        ? [
            [key, undefined],
            [key.replace('llama', name), value],
          ]
        : [],
    ),
  ),
  'general.architecture': text(name),
})

/** Two layers of architecture deci, of FFN widths 32 and 16. */
const DECI: Changes = {
  metadata: {
    ...asArchitecture('deci'),
    'deci.block_count': u32(2),
    'deci.feed_forward_length': i32s([32, 16]),
  },
  shapes: Object.fromEntries(
    Object.entries(SHAPES).map(([name, shape]) => [
      name.replace('blk.0', 'blk.1'),
      name.includes('ffn_') ? shape.map(n => (n === 32 ? 16 : n)) : shape,
    ]),
  ),
}
const deci = (metadata: Changes['metadata']): Changes => ({ ...DECI, metadata: { ...DECI.metadata, ...metadata } })

const NEOX = {
  'gptneox.attention.head_count_kv': u32(2),
  'gptneox.attention.layer_norm_epsilon': f32(1e-5),
  'gptneox.use_parallel_residual': u32(1),
}
const NEOX_LAYER = {
  'blk.0.attn_norm': [6],
  'blk.0.attn_qkv': [24, 6],
  'blk.0.attn_output': [6, 8],
  'blk.0.ffn_norm': [6],
  'blk.0.ffn_up': [32, 6],
  'blk.0.ffn_down': [6, 32],
}
const NEOX_SHAPES: Changes['shapes'] = {
  ...Object.fromEntries(Object.keys(SHAPES).map(name => [name, undefined])),
  ...{ 'token_embd.weight': [4, 6], 'output.weight': [4, 6], 'output_norm.weight': [6], 'output_norm.bias': [6] },
  ...Object.fromEntries(Object.entries(NEOX_LAYER).map(([name, shape]) => [`${name}.weight`, shape])),
  ...Object.fromEntries(Object.entries(NEOX_LAYER).map(([name, [rows]]) => [`${name}.bias`, [rows]])),
}

describe('architecture deci', () => {
  test('is a compact LLaMA where the widths differ', async () => {
    const { config, tensors } = await open(DECI)
    expect(config).toMatchObject({
      model_type: 'fasp_llama',
      num_hidden_layers: 2,
      intermediate_size: 32,
      layer_widths: [
        { ffn: 32, values: [4] },
        { ffn: 16, values: [4] },
      ],
    })
    expect(tensors.tensors.get('model.layers.1.mlp.down_proj.weight')!.shape).toEqual([6, 16])
    const { config: same } = await open({
      ...deci({ 'deci.feed_forward_length': u32(32) }),
      shapes: Object.fromEntries(
        Object.entries(SHAPES).map(([name, shape]) => [name.replace('blk.0', 'blk.1'), shape]),
      ),
    })
    expect(same).toMatchObject({ model_type: 'llama', intermediate_size: 32 })
    expect(same).not.toHaveProperty('layer_widths')
  })

  test.each<[string, Changes, RegExp]>([
    ['widths for other layers', deci({ 'deci.feed_forward_length': i32s([32]) }), /has 1 entries, for 2 layers/],
    ['a layer without FFN', deci({ 'deci.feed_forward_length': i32s([32, 0]) }), /deci.feed_forward_length is 0/],
    ['a negative width', deci({ 'deci.feed_forward_length': i32s([32, -1]) }), /an array of whole numbers is allowed/],
    ['heads per layer', deci({ 'deci.attention.head_count': i32s([2, 0]) }), /"deci.attention.head_count".*same for/],
    ['no widths', deci({ 'deci.feed_forward_length': undefined }), /"deci.feed_forward_length" is missing/],
    ['an absurd width', deci({ 'deci.feed_forward_length': i32s([32, 2 ** 31 - 1]) }), /the metadata say .*2147483647/],
    ['an absurd number of layers', deci({ 'deci.block_count': u32(2 ** 31 - 1) }), /deci.block_count is 2147483647/],
  ])('with %s is malformed', async (_, changes, message) => {
    const error = await open(changes).catch(error => error)
    expect(error).toBeInstanceOf(FormatError)
    expect(error.message).toMatch(message)
  })
})

describe('architecture olmo2', () => {
  const bools = (items: readonly boolean[]): BuiltValue => ({
    type: 'array',
    of: 7,
    items: items.map(item => ({ type: 'bool', value: Number(item) })),
  })
  const layer = (i: number) => ({
    ...{ [`blk.${i}.attn_norm.weight`]: undefined, [`blk.${i}.ffn_norm.weight`]: undefined },
    ...{ [`blk.${i}.attn_q_norm.weight`]: [8], [`blk.${i}.attn_k_norm.weight`]: [4] },
    ...{ [`blk.${i}.post_attention_norm.weight`]: [6], [`blk.${i}.post_ffw_norm.weight`]: [6] },
  })
  const second = Object.fromEntries(
    Object.entries(SHAPES).map(([name, shape]) => [name.replace('blk.0', 'blk.1'), shape]),
  )
  const olmo = (metadata: Changes['metadata']): Changes => ({
    metadata: { ...asArchitecture('olmo2'), 'olmo2.block_count': u32(2), ...metadata },
    shapes: { ...second, ...layer(0), ...layer(1) },
  })
  const window = { 'olmo2.attention.sliding_window': u32(9) }
  const pattern = 'olmo2.attention.sliding_window_pattern'

  test('is OLMo 2, or with windows OLMo 3, whose layers are listed or all but every fourth have one', async () => {
    expect((await open(olmo({}))).config).toMatchObject({ model_type: 'olmo2', hidden_act: 'silu' })
    const rope = { rope_type: 'default', rope_theta: 500000 }
    expect((await open(olmo({ ...window, [pattern]: bools([false, true]) }))).config).toMatchObject({
      model_type: 'olmo3',
      sliding_window: 9,
      layer_types: ['full_attention', 'sliding_attention'],
      rope_parameters: { full_attention: rope, sliding_attention: rope },
    })
    const { config } = await open(olmo(window))
    expect(config.layer_types).toEqual(['sliding_attention', 'sliding_attention'])
  })

  test.each<[string, Changes, RegExp]>([
    ['windows of other layers', olmo({ ...window, [pattern]: bools([true]) }), /has 1 entries, for 2 layers/],
    [
      'numbers for windows',
      olmo({ ...window, [pattern]: i32s([1, 0]) }),
      /an array of 2; an array of booleans is allowed/,
    ],
    [
      'a norm of one head',
      { ...olmo({}), shapes: { ...olmo({}).shapes, 'blk.0.attn_q_norm.weight': [4] } },
      /metadata say \[8\]/,
    ],
  ])('%s: refused', async (_, changes, problem) => {
    await expect(open(changes)).rejects.toThrow(FormatError)
    await expect(open(changes)).rejects.toThrow(problem)
  })
})

describe('experts of llama: Mixtral', () => {
  const DENSE = ['ffn_gate', 'ffn_up', 'ffn_down'].map((name): [string, undefined] => [
    `blk.0.${name}.weight`,
    undefined,
  ])
  const EXPERTS = {
    ...Object.fromEntries(DENSE),
    'blk.0.ffn_gate_inp.weight': [3, 6],
    'blk.0.ffn_gate_exps.weight': [3, 32, 6],
    'blk.0.ffn_up_exps.weight': [3, 32, 6],
    'blk.0.ffn_down_exps.weight': [3, 6, 32],
  }
  const mixture = ({ metadata, shapes }: Changes = {}) =>
    open({
      metadata: { 'llama.expert_count': u32(3), 'llama.expert_used_count': u32(2), ...metadata },
      shapes: { ...EXPERTS, ...shapes },
    })

  test('are tensors of their own, read from the stacked one', async () => {
    const { config, tensors } = await mixture()
    expect(config).toMatchObject({ model_type: 'mixtral', num_local_experts: 3, num_experts_per_tok: 2 })
    const name = 'model.layers.0.block_sparse_moe.experts.2.w1.weight'
    expect(tensors.tensors.get(name)).toMatchObject({ shape: [32, 6] })
    const values = await tensors.float32(name)
    expect([values.length, values[0]]).toEqual([32 * 6, 2 * 32 * 6]) // what is filled in is the number of the element
    expect(new Float32Array((await tensors.bytes(name)).buffer)).toEqual(values)
  })

  test.each<[string, Changes, RegExp]>([
    ['of another number', { metadata: { 'llama.expert_count': u32(4) } }, /shape \[3,.*and the metadata say \[4,/],
    ['too many', { metadata: { 'llama.expert_count': u32(2000) } }, /expert_count is 2000; it must be at most 1024/],
    [
      'without a router',
      { shapes: { 'blk.0.ffn_gate_inp.weight': undefined } },
      /"blk.0.ffn_gate_inp.weight" is missing/,
    ],
    ['half of them', { shapes: { 'blk.0.ffn_up_exps.weight': undefined } }, /"blk.0.ffn_up_exps.weight" is missing/],
  ])('%s are malformed', async (_, changes, message) => {
    const error = await mixture(changes).catch(error => error)
    expect(error).toBeInstanceOf(FormatError)
    expect(error.message).toMatch(message)
  })
})

describe('architecture qwen2', () => {
  const BIASES = { 'blk.0.attn_q.bias': [8], 'blk.0.attn_k.bias': [4], 'blk.0.attn_v.bias': [4] }
  const QWEN2: Changes = {
    metadata: {
      ...Object.fromEntries(Object.keys(METADATA).map(key => [key, undefined])),
      ...Object.fromEntries(Object.entries(METADATA).map(([key, value]) => [key.replace('llama', 'qwen2'), value])),
      'general.architecture': text('qwen2'),
    },
    shapes: BIASES,
  }
  const qwen2 = ({ metadata, shapes }: Changes): Changes => ({
    metadata: { ...QWEN2.metadata, ...metadata },
    shapes: { ...BIASES, ...shapes },
  })

  test('has biases on q, k and v, and rows in their order', async () => {
    const { config, tensors } = await open(QWEN2)
    expect(config).toMatchObject({ model_type: 'qwen2', architectures: ['Qwen2ForCausalLM'], rope_theta: 500000 })
    expect(config).not.toHaveProperty('attention_bias')
    for (const [kind, columns] of [
      ['weight', 6],
      ['bias', 1],
    ] as const) {
      const q = await tensors.float32(`model.layers.0.self_attn.q_proj.${kind}`)
      expect(rowOrder(q, columns)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    }
  })

  test('is what such biases mean in llama, too, where the rows have another order', async () => {
    const { config, tensors } = await open({ shapes: BIASES })
    expect(config).toMatchObject({ model_type: 'qwen2' })
    expect(rowOrder(await tensors.float32('model.layers.0.self_attn.k_proj.bias'), 1)).toEqual([0, 2, 1, 3])
  })

  test.each<[string, Changes, typeof FormatError | typeof UnsupportedModelError, RegExp]>([
    ['a missing bias', { shapes: { 'blk.0.attn_k.bias': undefined } }, FormatError, /"blk.0.attn_k.bias" is missing/],
    [
      'a bias of other length',
      { shapes: { 'blk.0.attn_q.bias': [4] } },
      FormatError,
      /shape \[4\], and the metadata say/,
    ],
    [
      'FFN widths per layer',
      { metadata: { 'qwen2.feed_forward_length': i32s([32, 16]) } },
      FormatError,
      /same for all/,
    ],
    [
      'no context',
      { metadata: { 'qwen2.context_length': undefined } },
      FormatError,
      /"qwen2.context_length" is missing/,
    ],
    [
      'keys of LLaMA alone',
      { metadata: { 'qwen2.block_count': undefined, 'llama.block_count': u32(1) } },
      FormatError,
      /"qwen2.block_count" is missing/,
    ],
    [
      'an absurd number of layers',
      { metadata: { 'qwen2.block_count': u32(2 ** 31 - 1) } },
      FormatError,
      /with 14 tensors/,
    ],
    [
      'biases of another kind',
      { shapes: { 'blk.0.ffn_up.bias': [32] } },
      UnsupportedModelError,
      /"blk.0.ffn_up.bias" is no part/,
    ],
    ['experts', { metadata: { 'qwen2.expert_count': u32(8) } }, UnsupportedModelError, /8 experts/],
    ['another scaling', { metadata: { 'qwen2.rope.scaling.type': text('su') } }, UnsupportedModelError, /"su"/],
  ])('with %s is refused', async (_, changes, kind, message) => {
    const error = await open(qwen2(changes)).catch(error => error)
    expect(error).toBeInstanceOf(kind)
    expect(error.message).toMatch(message)
  })
})

test('another architecture is told the nearest, and what differs', async () => {
  const more = { 'blk.0.attn_q_norm.weight': [4], 'blk.0.attn_k_norm.weight': [4], 'blk.0.ssm_in.weight': [4, 6] }
  const [all] = [Object.keys(SHAPES).length + 2]
  const changes = {
    metadata: of('other', { 'llama.block_count': undefined }),
    shapes: { ...more, 'blk.0.ffn_up.weight': [30, 6] },
  }
  const error = await open(changes).catch(error => error)
  expect(error).toBeInstanceOf(UnsupportedModelError)
  expect(error.message).toContain(`architecture "other". Of GGUF files, models of architecture "llama", "qwen2", `)
  expect(error.message).toContain(
    ` The nearest is qwen3: ${all - 1} of its ${all} tensors are there; blk.N.ffn_up.weight are not, or of other shapes; it has none like blk.N.ssm_in.weight. docs/add-a-model.md says`,
  )
})

describe('ggufCheckpoint', () => {
  test('the config that transformers would have', async () => {
    const { config, format, weightBytes } = await open()
    expect(format).toBe('gguf')
    const dataBytes = 4 * Object.values(SHAPES).reduce((sum, [a, b = 1]) => sum + a * b, 0)
    expect(weightBytes).toBeGreaterThan(dataBytes) // all of the file
    expect(weightBytes).toBeLessThan(2 * dataBytes)
    expect(config).toEqual({
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      hidden_size: 6,
      intermediate_size: 32,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      num_key_value_heads: 1,
      head_dim: 4,
      hidden_act: 'silu',
      rms_norm_eps: 1e-5,
      rope_theta: 500000,
      rope_scaling: null,
      max_position_embeddings: 64,
      vocab_size: 4,
      bos_token_id: 1,
      eos_token_id: 2,
      tie_word_embeddings: true,
      attention_bias: false,
      mlp_bias: false,
      torch_dtype: 'float32',
    })
  })

  test('tensors by their Hugging Face names, rows of Q and K in its order', async () => {
    const { tensors } = await open()
    expect([...tensors.tensors.keys()].sort()).toEqual([
      'model.embed_tokens.weight',
      'model.layers.0.input_layernorm.weight',
      'model.layers.0.mlp.down_proj.weight',
      'model.layers.0.mlp.gate_proj.weight',
      'model.layers.0.mlp.up_proj.weight',
      'model.layers.0.post_attention_layernorm.weight',
      'model.layers.0.self_attn.k_proj.weight',
      'model.layers.0.self_attn.o_proj.weight',
      'model.layers.0.self_attn.q_proj.weight',
      'model.layers.0.self_attn.v_proj.weight',
      'model.norm.weight',
    ])
    const q = await tensors.float32('model.layers.0.self_attn.q_proj.weight')
    expect(rowOrder(q, 6)).toEqual([0, 2, 1, 3, 4, 6, 5, 7])
    expect(rowOrder(await tensors.float32('model.layers.0.self_attn.k_proj.weight'), 6)).toEqual([0, 2, 1, 3])
    expect(rowOrder(await tensors.float32('model.layers.0.self_attn.v_proj.weight'), 6)).toEqual([0, 1, 2, 3])
    expect(await tensors.bytes('model.layers.0.self_attn.q_proj.weight')).toEqual(new Uint8Array(q.buffer))
    const some = async (name: string, ids: number[]) => tensors.rows(name, Int32Array.from(ids))
    for (const ids of [[1, 2], [2, 5], [7]])
      expect(rowOrder(await some('model.layers.0.self_attn.q_proj.weight', ids), 6)).toEqual(
        ids.map(id => [0, 2, 1, 3, 4, 6, 5, 7][id]),
      )
    expect(rowOrder(await some('model.layers.0.self_attn.v_proj.weight', [1, 3]), 6)).toEqual([1, 3])
    await expect(tensors.float32('lm_head.weight')).rejects.toThrow(/no tensor "lm_head.weight"/)
  })

  test('biases, a head of its own, an end of turn', async () => {
    const biases = { attn_q: 8, attn_k: 4, attn_v: 4, attn_output: 6 }
    const shapes = Object.fromEntries(Object.entries(biases).map(([name, n]) => [`blk.0.${name}.bias`, [n]]))
    const { config, tensors, sideFiles } = await open({
      metadata: { 'tokenizer.ggml.eot_token_id': u32(3) },
      shapes: { ...shapes, 'output.weight': [4, 6] },
    })
    expect(config).toMatchObject({ attention_bias: true, mlp_bias: false, tie_word_embeddings: false })
    expect(rowOrder(await tensors.float32('model.layers.0.self_attn.q_proj.bias'), 1)).toEqual([0, 2, 1, 3, 4, 6, 5, 7])
    const generation = sideFiles.find(({ name }) => name === 'generation_config.json')
    expect(JSON.parse(new TextDecoder().decode(generation?.bytes))).toMatchObject({ eos_token_id: [2, 3] })
  })

  test('quantised Q: rows are put in order, bytes are refused, the type is bfloat16', async () => {
    // Row r of Q8_0: scale 1, all values r.
    const bytes = new Uint8Array(8 * 34)
    for (let row = 0; row < 8; row++) bytes.set([0, 0x3c, ...new Array(32).fill(row)], row * 34)
    const up = { name: 'blk.0.ffn_up.weight', shape: [32, 32], type: 8, bytes: new Uint8Array(32 * 34) }
    const wide = Object.fromEntries(
      Object.entries(SHAPES).map(([name, shape]) => [name, shape.map(n => (n === 6 ? 32 : n))]),
    )
    const { config, tensors } = await open({
      metadata: { 'llama.embedding_length': u32(32) },
      shapes: wide,
      replace: [{ name: 'blk.0.attn_q.weight', shape: [8, 32], type: 8, bytes }, up],
    })
    const q = await tensors.float32('model.layers.0.self_attn.q_proj.weight')
    expect(rowOrder(q, 32).map(row => row * 32)).toEqual([0, 2, 1, 3, 4, 6, 5, 7])
    await expect(tensors.bytes('model.layers.0.self_attn.q_proj.weight')).rejects.toThrow(UsageError)
    expect(config.torch_dtype).toBe('bfloat16')
  })

  test('side files are what AutoTokenizer needs', async () => {
    const { sideFiles, tokenizer, tokenizerConfig } = await open()
    const parsed = Object.fromEntries(
      sideFiles.map(({ name, bytes }) => [name, JSON.parse(new TextDecoder().decode(bytes))]),
    )
    expect(Object.keys(parsed)).toEqual(['tokenizer.json', 'tokenizer_config.json', 'generation_config.json'])
    expect(parsed['tokenizer.json']).toEqual(tokenizer)
    expect(parsed['tokenizer_config.json']).toEqual(tokenizerConfig)
  })

  test.each<[string, Changes, RegExp]>([
    ['another architecture', { metadata: { 'general.architecture': text('gemma') } }, /architecture "gemma"/],
    ['an inherited name', { metadata: { 'general.architecture': text('toString') } }, /architecture "toString"/],
    ['experts', { metadata: { 'llama.expert_count': u32(8) } }, /"blk.0.ffn_gate.weight" is no part of a model/],
    ['one part of several', { metadata: { 'split.count': u32(3) } }, /one of 3 parts/],
    ['Granite multipliers', { metadata: { 'llama.logit_scale': f32(0.25) } }, /logit_scale is 0.25/],
    ['a tensor of another model', { shapes: { 'blk.0.attn_q_norm.weight': [4] } }, /"blk.0.attn_q_norm.weight"/],
    ['a layer beyond the last', { shapes: { 'blk.1.attn_norm.weight': [6] } }, /"blk.1.attn_norm.weight"/],
    ['narrow values', { metadata: { 'llama.attention.value_length': u32(2) } }, /values of 2/],
    ['partial rotation', { metadata: { 'llama.rope.dimension_count': u32(2) } }, /2 rotated/],
    ['another scaling', { metadata: { 'llama.rope.scaling.type': text('su') } }, /"su"/],
  ])('%s is not supported', async (_, changes, message) => {
    const error = await open(changes).catch(error => error)
    expect(error).toBeInstanceOf(UnsupportedModelError)
    expect(error.message).toMatch(message)
  })

  test.each<[string, Changes, RegExp]>([
    ['no architecture', { metadata: { 'general.architecture': undefined } }, /"general.architecture" is missing/],
    ['no epsilon', { metadata: { 'llama.attention.layer_norm_rms_epsilon': undefined } }, /rms_epsilon" is missing/],
    ['a head count as text', { metadata: { 'llama.attention.head_count': text('2') } }, /whole number is allowed/],
    ['heads per layer', { metadata: { 'llama.attention.head_count': i32s([2, 1]) } }, /same for all layers/],
    ['FFN widths per layer', { metadata: { 'llama.feed_forward_length': i32s([32, 16]) } }, /same for all layers/],
    ['no heads', { metadata: { 'llama.attention.head_count': u32(0) } }, /must be 1 or more/],
    [
      'fewer KV heads than GPT-NeoX has',
      { metadata: of('gptneox', {}) },
      /2 query heads and 1 KV heads; they must be as many/,
    ],
    [
      'a parallel residual that is a number',
      { metadata: of('gptneox', NEOX), shapes: NEOX_SHAPES },
      /"gptneox.use_parallel_residual" is number 1; a boolean is allowed/,
    ],
    [
      'no word of the residual of GPT-NeoX',
      { metadata: of('gptneox', { ...NEOX, 'gptneox.use_parallel_residual': undefined }), shapes: NEOX_SHAPES },
      /"gptneox.use_parallel_residual" is missing/,
    ],
    [
      'no bias of a norm of GPT-NeoX',
      { metadata: of('gptneox', NEOX), shapes: { ...NEOX_SHAPES, 'output_norm.bias': undefined } },
      /"output_norm.bias" is missing/,
    ],
    ['KV heads that do not divide', { metadata: { 'llama.attention.head_count_kv': u32(3) } }, /no multiple of 3/],
    ['a wrong width', { metadata: { 'llama.feed_forward_length': u32(16) } }, /shape \[32,6\], and the metadata say/],
    [
      'an absurd width',
      { metadata: { 'llama.feed_forward_length': u32(2 ** 32 - 1) } },
      /the metadata say .*4294967295/,
    ],
    ['a missing tensor', { shapes: { 'blk.0.ffn_up.weight': undefined } }, /"blk.0.ffn_up.weight" is missing/],
    ['no embeddings', { shapes: { 'token_embd.weight': undefined } }, /"token_embd.weight" is missing/],
    ['one bias of four', { shapes: { 'blk.0.attn_q.bias': [8] } }, /bias" is missing/],
    ['an absurd number of layers', { metadata: { 'llama.block_count': u32(2 ** 31 - 1) } }, /with 11 tensors/],
    ['more tokens than embeddings', { shapes: { 'token_embd.weight': [3, 6] } }, /4 tokens/],
  ])('%s is malformed', async (_, changes, message) => {
    const error = await open(changes).catch(error => error)
    expect(error).toBeInstanceOf(FormatError)
    expect(error.message).toMatch(message)
    expect(error.message).toContain('built.gguf')
  })
})
