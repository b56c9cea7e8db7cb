// Small models with random weights, in memory: any shape that a config can state, and widths of their own for each layer.

import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { randomNumbers } from '../src/base/random.ts'
import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import { floatSource } from '../src/checkpoint/float-source.ts'
import { elements } from '../src/formats/tensors.ts'
import { attentionHalves, tensorShapes } from '../src/model/architecture.ts'
import { compactConfig } from '../src/model/compact.ts'
import type { AttentionHalf, LayerWidths } from '../src/model/half-block.ts'
import { architectureOf, describeModel, type Model } from '../src/model/model.ts'

const tokenizer = JSON.parse(readFileSync(new URL('../assets/tiny-llama/tokenizer.json', import.meta.url), 'utf8'))

export type ModelConfig = Readonly<Record<string, unknown>>

/** A model of normal weights whose products keep the size of their inputs; norms near 1, biases that matter. */
export function madeModel(config: ModelConfig, seed: number): Model {
  const random = randomNumbers(seed)
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  const shapes = tensorShapes(architectureOf('made', config))
  const values = new Map<string, Float32Array<ArrayBuffer>>()
  for (const [name, shape] of shapes) {
    const scale = shape.length === 1 ? 0.2 : 1.5 / Math.sqrt(shape[1])
    const center = shape.length === 1 && name.endsWith('.weight') ? 1 : 0
    values.set(
      name,
      Float32Array.from({ length: elements(shape) }, () => center + scale * normal()),
    )
  }
  const checkpoint: Checkpoint = {
    name: 'made',
    format: 'huggingface',
    config,
    tensors: floatSource(shapes, async name => values.get(name)!.slice()),
    tokenizer,
    tokenizerConfig: {},
    sideFiles: [{ name: 'tokenizer.json', bytes: new TextEncoder().encode(JSON.stringify(tokenizer)) }],
    weightBytes: 0,
    close: async () => {},
  }
  return describeModel(checkpoint)
}

const size = (min: number, max: number) => fc.integer({ min, max })
const shared = {
  vocab_size: size(20, 60),
  num_hidden_layers: size(1, 3),
  max_position_embeddings: fc.constant(64),
  tie_word_embeddings: fc.boolean(),
}

const llama3 = {
  rope_type: 'llama3',
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 32,
}
const yarn = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 32 }
const llamas = fc
  .record({
    ...shared,
    model_type: fc.constant('llama'),
    hidden_size: fc.constantFrom(24, 40, 64),
    intermediate_size: size(3, 50),
    num_key_value_heads: size(1, 3),
    group: size(1, 3),
    head_dim: fc.constantFrom(6, 8, 10, 16, 20),
    attention_bias: fc.boolean(),
    mlp_bias: fc.boolean(),
    hidden_act: fc.constantFrom('silu', 'gelu', 'gelu_pytorch_tanh'),
    rope_scaling: fc.constantFrom(undefined, { rope_type: 'linear', factor: 4 }, llama3, yarn),
  })
  .map(({ group, ...config }) => ({ ...config, num_attention_heads: config.num_key_value_heads * group }))

/** The families like LLaMA, with what they have of their own; windows are shorter than any text. */
const likes = fc
  .record({
    llama: llamas,
    model_type: fc.constantFrom(
      'llama',
      'mistral',
      'qwen2',
      'qwen3',
      'smollm3',
      'gemma3_text',
      'olmo2',
      'olmo3',
      'exaone4',
      'phi3',
      'granite',
      'granitemoehybrid',
      'glm4',
      'gpt_neox',
    ),
    sliding_window: fc.constantFrom(null, 1, 3, 9),
    use_sliding_window: fc.boolean(),
    use_parallel_residual: fc.boolean(),
    position_embedding_type: fc.constantFrom(null, 'rope'),
    max_window_layers: size(0, 2),
    sliding_window_pattern: size(1, 3),
    query_pre_attn_scalar: size(4, 30),
    turned: fc.constantFrom(2, 4, 6),
    ...{ attention_multiplier: fc.constant(0.3), embedding_multiplier: fc.constant(3), logits_scaling: fc.constant(2) },
    residual_multiplier: fc.constantFrom(0.5, 1),
  })
  .map(({ llama, turned, ...config }) => ({
    ...{ ...llama, ...config, partial_rotary_factor: turned / llama.head_dim },
    ...(config.model_type === 'granitemoehybrid' && {
      ...{ num_local_experts: 0, layer_types: new Array(llama.num_hidden_layers).fill('attention') },
      shared_intermediate_size: llama.intermediate_size,
    }),
  }))

const opts = fc.record({
  ...shared,
  model_type: fc.constant('opt'),
  hidden_size: fc.constantFrom(24, 48),
  num_attention_heads: fc.constantFrom(1, 2, 3, 4),
  ffn_dim: size(3, 50),
  word_embed_proj_dim: fc.constantFrom(undefined, 20, 32),
  do_layer_norm_before: fc.boolean(),
  _remove_final_layer_norm: fc.boolean(),
  enable_bias: fc.boolean(),
  layer_norm_elementwise_affine: fc.boolean(),
  activation_function: fc.constantFrom('relu', 'gelu'),
})

/** Configs of either family, stock or compact. */
export const modelConfigs: fc.Arbitrary<ModelConfig> = fc
  .record({ stock: fc.oneof(likes, opts), compact: fc.boolean(), widths: fc.infiniteStream(fc.nat(1e6)) })
  .map(({ stock, compact, widths }) => {
    if (!compact) return stock
    const a = architectureOf('made', stock)
    const upTo = (max: number) => widths.next().value! % (max + 1)
    const layer = ({ kvHeads, headSize }: AttentionHalf): LayerWidths => {
      const values = Array.from({ length: kvHeads }, () => upTo(headSize))
      values[upTo(kvHeads - 1)] ||= 1 // a layer has a value channel
      return { ffn: 1 + upTo(a.ffnWidth - 1), values: upTo(2) > 0 ? values : values.map(() => Math.max(...values)) }
    }
    return { ...stock, ...compactConfig(a, attentionHalves(a).map(layer)) }
  })
