// config.json as an architecture, and whole Hugging Face folders through the opener.

import { parseJsonObject } from '../../src/base/json.ts'
import { floatSource } from '../../src/checkpoint/float-source.ts'
import { openHuggingFace } from '../../src/checkpoint/huggingface.node.ts'
import { inspect } from '../../src/evaluate/inspect.ts'
import { halfBlockGraph } from '../../src/graphs/half-block.ts'
import { describeModel } from '../../src/model/model.ts'
import { inspectionText, tensorsTable } from '../../src/report/terminal.ts'
import { loadTokenizer } from '../../src/text/tokenizer.ts'
import { dict, pickle, tensor, torchFile } from '../torch-file.ts'
import { type Dice, jsonCase, mutateBytes } from './mutate.ts'
import { CONFIG, type Files, readTensors, smallTensors, type Target, tolerate } from './target.ts'
import { TOKENIZER, TOKENIZER_CONFIG } from './tokenizers.ts'
import { safetensorsFile } from './weights.ts'

const COMPACT = { ...CONFIG, model_type: 'fasp_llama', layer_widths: [{ ffn: 3, values: [2] }] }
const LLAMA3 = {
  rope_type: 'llama3',
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 16,
}
const OPT = {
  ...{ model_type: 'opt', vocab_size: 12, hidden_size: 8, word_embed_proj_dim: 4, ffn_dim: 16, num_hidden_layers: 1 },
  ...{ num_attention_heads: 2, max_position_embeddings: 32, activation_function: 'relu', do_layer_norm_before: true },
  ...{
    _remove_final_layer_norm: false,
    enable_bias: true,
    layer_norm_elementwise_affine: true,
    tie_word_embeddings: true,
  },
}
const CONFIGS = [
  CONFIG,
  COMPACT,
  OPT,
  { ...OPT, model_type: 'fasp_opt', layer_widths: [{ ffn: 5, values: [1, 2] }] },
  { ...CONFIG, rope_theta: 10_000, rope_scaling: LLAMA3 },
  { ...CONFIG, rope_theta: 10_000, rope_scaling: { type: 'linear', factor: 2 } },
  { ...CONFIG, rope_parameters: { ...LLAMA3, rope_theta: 10_000 } },
].map(config => {
  const tensors = smallTensors(config)
  const values = new Map(tensors.map(({ name, values }) => [name, values]))
  return {
    config,
    source: floatSource(
      tensors.map(({ name, shape }) => [name, shape]),
      async name => values.get(name)!,
    ),
  }
})

const config: Target = {
  cases: 2700,
  make: dice => ({ 'config.json': jsonCase(dice.pick(CONFIGS).config, dice) }),
  read(files) {
    const config = parseJsonObject(files['config.json'], 'config.json')
    const { source } = CONFIGS.find(one => one.config.model_type === config.model_type) ?? CONFIGS[0]
    const rest = { tokenizer: {}, tokenizerConfig: {}, sideFiles: [], weightBytes: 0, close: async () => {} }
    const { architecture } = describeModel({ name: 'made', format: 'huggingface', config, tensors: source, ...rest })
    // What is made of the numbers first.
    for (const half of architecture.halves) halfBlockGraph(half, { by: 'operator' }).bytes()
  },
}

// Folders

const MODELS = [CONFIG, COMPACT].map(config => {
  const tensors = smallTensors(config)
  const half = tensors.length >> 1
  const shards = [tensors.slice(0, half), tensors.slice(half)]
  const map = (ending: string) =>
    Object.fromEntries(shards.flatMap((shard, i) => shard.map(({ name }) => [name, `${i}${ending}`])))
  const file = (some: typeof tensors) => {
    const entries = some.map(({ name, shape, values }, key): [string, Uint8Array] => {
      const strides = shape.map((_, i) => (i === 0 && shape[1]) || 1)
      return [name, tensor({ key: String(key), length: values.length, shape, strides })]
    })
    return torchFile(
      pickle(dict(Object.fromEntries(entries))),
      Object.fromEntries(some.map(({ values }, key) => [key, values])),
    )
  }
  const whole: Files = { 'model.safetensors': safetensorsFile(tensors) }
  const torch: Files = { 'pytorch_model.bin': file(tensors) }
  const inShards: Files = { '0.safetensors': safetensorsFile(shards[0]), '1.safetensors': safetensorsFile(shards[1]) }
  const torchShards: Files = { '0.bin': file(shards[0]), '1.bin': file(shards[1]) }
  return {
    config,
    weights: [
      { files: whole, json: {} },
      { files: torch, json: {} },
      {
        files: inShards,
        json: { 'model.safetensors.index.json': { metadata: { total_size: 1 }, weight_map: map('.safetensors') } },
      },
      { files: torchShards, json: { 'pytorch_model.bin.index.json': { metadata: {}, weight_map: map('.bin') } } },
    ],
  }
})

const RECIPE = {
  ...{
    schema: 1,
    fasp: '0.1.0',
    source: { name: 'm', format: 'huggingface', modelType: 'llama' },
    options: { sparsity: 0.5 },
  },
  widths: { before: { ffn: 32, value: 4 }, after: [{ ffn: 3, value: 2 }] },
  layers: [
    {
      ffn: { kept: [0, 1, 5], errorBefore: 1, errorAfter: 1 },
      attention: { kept: [1, 3], errorBefore: 1, errorAfter: 1 },
    },
  ],
}
const JSON_FILES = {
  'tokenizer.json': TOKENIZER,
  'tokenizer_config.json': TOKENIZER_CONFIG,
  'generation_config.json': { bos_token_id: 1, eos_token_id: [2], temperature: 0.6 },
  'special_tokens_map.json': { bos_token: '<s>', eos_token: { content: '</s>' } },
}
const JSON_BYTES: Files = Object.fromEntries(
  Object.entries(JSON_FILES).map(([name, value]) => [name, Buffer.from(JSON.stringify(value))]),
)
const CARD = Buffer.from('---\nlibrary_name: transformers\nlicense: apache-2.0\ntags:\n- a\n---\n\n# A model\n')

function anyFolder(dice: Dice): Files {
  const { config, weights } = dice.pick(MODELS)
  const { files: stored, json: index } = dice.pick(weights)
  const recipe = 'layer_widths' in config ? { 'fasp.json': RECIPE } : {}
  const json: Readonly<Record<string, unknown>> = { 'config.json': config, ...JSON_FILES, ...recipe, ...index }
  const files: Record<string, Uint8Array> = { ...JSON_BYTES, 'README.md': CARD, ...stored }
  for (const [name, value] of Object.entries(json)) files[name] ??= Buffer.from(JSON.stringify(value))
  for (let i = dice.below(2); i >= 0; i--) {
    const name = dice.pick([...Object.keys(json), ...Object.keys(json), ...Object.keys(files)])
    if (dice.chance(0.05)) delete files[name]
    else if (name in json) files[name] = jsonCase(json[name], dice)
    else if (name in files) files[name] = mutateBytes(files[name], dice)
  }
  return files
}

const folder: Target = {
  cases: 800,
  onDisk: true,
  make: anyFolder,
  async read(_, path) {
    const checkpoint = await openHuggingFace(path)
    try {
      await tolerate(() => {
        const inspection = inspect(describeModel(checkpoint))
        inspectionText(inspection)
        tensorsTable(inspection)
      })
      await tolerate(() => loadTokenizer(checkpoint).encode('ab a 12'))
      for (const { bytes } of checkpoint.sideFiles) bytes.toString()
      await readTensors(checkpoint.tensors)
    } finally {
      await checkpoint.close()
    }
  },
}

export const models: Readonly<Record<string, Target>> = { config, folder }
