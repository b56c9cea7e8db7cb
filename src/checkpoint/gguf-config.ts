// config.json of the model that a GGUF file was made from. Biases tell Qwen2 (q, k, v) from LLaMA
// (all or none) where the architecture does not. FFN widths by layer (`deci`) make a compact checkpoint (compact.ts).
import type { TensorInfo, TensorSource } from '../formats/tensors.ts'
import type { GgufArchitecture } from './checkpoint.ts'
import { type GgufGraph, GRAPHS, gemma3ScoreSize } from './gguf-architectures.ts'
import type { GgufMetadata } from './gguf-metadata.ts'
import { decimal, readDivisors, ropeScaling } from './gguf-rope.ts'

export interface GgufSizes {
  readonly hidden: number
  /** FFN width of each layer. */
  readonly widths: readonly number[]
  readonly heads: number
  readonly kvHeads: number
  readonly headSize: number
  /** Channels of a head that are turned, the first ones. */
  readonly rotated: number
  /** Of a mixture, or 0. */
  readonly experts: number
}

/** What a family's config has of its own. @param biased whether a linear layer of layer 0 has a bias */
function familyConfig(
  architecture: GgufArchitecture,
  metadata: GgufMetadata,
  { widths, hidden, heads, headSize, rotated, experts }: GgufSizes,
  ropes: { readonly rope_theta: number; readonly rope_scaling: Readonly<Record<string, unknown>> | null },
  biased: (name: string) => boolean,
): Record<string, unknown> {
  const attentionBias = biased('self_attn.q_proj')
  const active = {
    num_experts_per_tok: metadata.count('llama.expert_used_count'),
    norm_topk_prob: architecture === 'qwen3moe',
  }
  const named = (model_type: string, classes: string) => ({ model_type, architectures: [`${classes}ForCausalLM`] })
  switch (architecture) {
    case 'qwen3':
      return { ...named('qwen3', 'Qwen3'), hidden_act: 'silu', attention_bias: attentionBias }
    case 'smollm3':
      return {
        ...named('smollm3', 'SmolLM3'),
        hidden_act: 'silu',
        no_rope_layers: widths.map((_, i) => Number((i + 1) % GRAPHS.smollm3.withoutRope > 0)),
      }
    case 'olmo2': {
      const windows = windowFields(metadata, widths.length, GRAPHS.olmo2.windows)
      const { rope_theta, rope_scaling } = ropes
      const rope_parameters = {
        sliding_attention: { rope_type: 'default', rope_theta },
        full_attention: { rope_type: 'default', ...rope_scaling, rope_theta },
      }
      return windows.sliding_window === undefined
        ? { ...named('olmo2', 'Olmo2'), hidden_act: 'silu' }
        : { ...named('olmo3', 'Olmo3'), hidden_act: 'silu', ...windows, rope_parameters }
    }
    case 'exaone4':
      return {
        ...{ ...named('exaone4', 'Exaone4'), hidden_act: 'silu', sliding_window: null },
        ...windowFields(metadata, widths.length, GRAPHS.exaone4.windows),
      }
    case 'gemma3':
      return {
        ...named('gemma3_text', 'Gemma3'),
        hidden_activation: 'gelu_pytorch_tanh',
        attention_bias: attentionBias,
        query_pre_attn_scalar: gemma3ScoreSize(widths.length, hidden, heads, headSize),
        ...windowFields(metadata, widths.length, GRAPHS.gemma3.windows),
        rope_local_base_freq: decimal(metadata.real('llama.rope.freq_base_swa') ?? 10000),
      }
    case 'mixtral':
      return { ...named('mixtral', 'Mixtral'), hidden_act: 'silu', num_local_experts: experts, ...active }
    case 'qwen3moe':
      return {
        ...{ ...named('qwen3_moe', 'Qwen3Moe'), hidden_act: 'silu', attention_bias: attentionBias },
        ...{ moe_intermediate_size: widths[0], num_experts: experts, num_local_experts: experts, ...active },
      }
    case 'olmoe':
      return {
        ...{ ...named('olmoe', 'Olmoe'), hidden_act: 'silu', attention_bias: attentionBias },
        ...{ num_experts: experts, ...active },
      }
    case 'glm4':
      return {
        ...{ ...named('glm4', 'Glm4'), hidden_act: 'silu', attention_bias: attentionBias },
        partial_rotary_factor: rotated / headSize,
      }
    case 'mistral3': {
      const beta = metadata.real('llama.attention.temperature_scale')
      const { rope_theta, rope_scaling } = ropes
      const rope_parameters = { ...rope_scaling, rope_theta, llama_4_scaling_beta: decimal(beta ?? 0) }
      return beta
        ? { ...named('ministral3', 'Ministral3'), hidden_act: 'silu', rope_parameters, sliding_window: null }
        : { ...named('mistral', 'Mistral'), hidden_act: 'silu', sliding_window: null } // Mistral Small 3
    }
    case 'granite': {
      const multiplier = (key: string, usual: number) => decimal(metadata.real(`llama.${key}`) || usual)
      return {
        ...named('granite', 'Granite'),
        hidden_act: 'silu',
        attention_multiplier: multiplier('attention.scale', 1 / Math.sqrt(headSize)),
        embedding_multiplier: multiplier('embedding_scale', 1),
        residual_multiplier: multiplier('residual_scale', 1),
        logits_scaling: multiplier('logit_scale', 1),
      }
    }
    case 'gptneox': {
      const parallel = 'llama.use_parallel_residual'
      return {
        ...{ ...named('gpt_neox', 'GPTNeoX'), hidden_act: 'gelu', attention_bias: true },
        use_parallel_residual: metadata.need(parallel, metadata.flag(parallel)),
        ...{ rotary_emb_base: ropes.rope_theta, rotary_pct: rotated / headSize },
      }
    }
    case 'phi3':
      return {
        ...named('phi3', 'Phi3'),
        hidden_act: 'silu',
        partial_rotary_factor: rotated / headSize,
        original_max_position_embeddings:
          metadata.count('llama.rope.scaling.original_context_length') ?? metadata.count('llama.context_length'),
        sliding_window: metadata.count('llama.attention.sliding_window') || null,
      }
    default:
      return attentionBias && !biased('self_attn.o_proj')
        ? { ...named('qwen2', 'Qwen2'), hidden_act: 'silu' }
        : {
            ...named('llama', 'Llama'),
            hidden_act: 'silu',
            attention_bias: attentionBias,
            mlp_bias: biased('mlp.gate_proj'),
          }
  }
}

/** Layers with a window, and its length. @param usual without a key: of so many layers all but the last have one */
function windowFields(metadata: GgufMetadata, layers: number, usual: number) {
  const window = metadata.count('llama.attention.sliding_window') ?? 0
  const pattern = 'llama.attention.sliding_window_pattern'
  const listed = metadata.flags(pattern)
  if (listed && listed.length !== layers)
    throw metadata.error(
      `${metadata.prefix}attention.sliding_window_pattern has ${listed.length} entries, for ${layers} layers`,
    )
  const every = listed ? 0 : (metadata.count(pattern) ?? usual)
  const slides = (layer: number) => window > 0 && (listed ? listed[layer] : (layer + 1) % every > 0)
  return {
    ...(window > 0 && { sliding_window: window }),
    layer_types: Array.from({ length: layers }, (_, i) => (slides(i) ? 'sliding_attention' : 'full_attention')),
  }
}

/** @param sizes read and checked */
export async function ggufConfig(
  architecture: GgufArchitecture,
  metadata: GgufMetadata,
  source: TensorSource,
  tensors: ReadonlyMap<string, TensorInfo>,
  sizes: GgufSizes,
): Promise<Record<string, unknown>> {
  const { layers, outside, names, neox }: GgufGraph = GRAPHS[architecture]
  const epsilon = `llama.attention.layer_norm_${neox ? '' : 'rms_'}epsilon`
  const theta = decimal(metadata.real('llama.rope.freq_base') ?? 10000)
  const divisors = await readDivisors(metadata, source, sizes.rotated)
  const ropes = { rope_theta: theta, rope_scaling: ropeScaling(metadata, divisors, theta) }
  const width = Math.max(...sizes.widths)
  const values = new Array<number>(sizes.kvHeads).fill(sizes.headSize)
  const biased = (name: string) => tensors.has(`model.layers.0.${name}.bias`)
  const { model_type: family, ...own } = familyConfig(architecture, metadata, sizes, ropes, biased)
  return {
    ...(sizes.widths.every(n => n === width)
      ? { model_type: family }
      : { model_type: `fasp_${family}`, layer_widths: sizes.widths.map(ffn => ({ ffn, values })) }), // model/compact.ts
    hidden_size: sizes.hidden,
    intermediate_size: width,
    num_hidden_layers: sizes.widths.length,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.kvHeads,
    head_dim: sizes.headSize,
    [neox ? 'layer_norm_eps' : 'rms_norm_eps']: decimal(metadata.need(epsilon, metadata.real(epsilon))),
    ...ropes,
    max_position_embeddings: metadata.need('llama.context_length', metadata.count('llama.context_length')),
    vocab_size: tensors.get(`${outside.token_embd}.weight`)?.shape[0],
    ...specialIds(metadata),
    tie_word_embeddings: !tensors.has(`${outside.output}.weight`),
    ...own,
    torch_dtype: torchDtype(tensors.get(`${layers}.0.${names.ffn_up}.weight`)?.dtype),
  }
}

/** Of this type where it is one that PyTorch has, else bfloat16. */
const torchDtype = (dtype?: TensorInfo['dtype']): string =>
  dtype === 'F32' ? 'float32' : dtype === 'F16' ? 'float16' : 'bfloat16'

const SPECIAL_IDS = { bos_token_id: 'bos_token_id', eos_token_id: 'eos_token_id', pad_token_id: 'padding_token_id' }

function specialIds(metadata: GgufMetadata): Record<string, number> {
  const ids = Object.entries(SPECIAL_IDS).map(([name, key]) => [name, metadata.count(`tokenizer.ggml.${key}`)] as const)
  return Object.fromEntries(ids.filter((pair): pair is [string, number] => pair[1] !== undefined))
}

export function generationConfig(metadata: GgufMetadata): Record<string, unknown> {
  const ids = specialIds(metadata)
  const turnEnd = metadata.count('tokenizer.ggml.eot_token_id')
  const several = turnEnd !== undefined && ids.eos_token_id !== undefined && turnEnd !== ids.eos_token_id
  return { _from_model_config: true, ...ids, ...(several && { eos_token_id: [ids.eos_token_id, turnEnd] }) }
}
