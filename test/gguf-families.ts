// Configs of small models of the families that llama.cpp has graphs of their own for, in shapes that those graphs take.
import { LLAMA3_ROPE } from './made-models.ts'

/** Gemma 3 with what llama.cpp has a graph for. */
export const GEMMA3 = {
  ...{
    model_type: 'gemma3_text',
    num_hidden_layers: 8,
    num_attention_heads: 4,
    head_dim: 24,
    query_pre_attn_scalar: 24,
  },
  ...{
    sliding_window: 9,
    rope_theta: 1e6,
    rope_local_base_freq: 2e4,
    rope_scaling: { rope_type: 'linear', factor: 8 },
  },
}
/** Phi-3 whose texts of more than 32 tokens are long ones. */
export const PHI3 = {
  ...{ model_type: 'phi3', num_attention_heads: 4, num_key_value_heads: 2, partial_rotary_factor: 0.75 },
  original_max_position_embeddings: 32,
  rope_scaling: {
    type: 'longrope',
    short_factor: [1, 1.02, 1.1, 1.2, 1.5, 1.7, 2, 2.1, 2.4],
    long_factor: [1, 1.5, 2, 4, 8, 12, 20, 40, 50],
  },
}
export const GRANITE = {
  ...{ model_type: 'granite', attention_multiplier: 0.3, embedding_multiplier: 12, residual_multiplier: 0.22 },
  ...{ logits_scaling: 8, rope_parameters: LLAMA3_ROPE, head_dim: 20, num_attention_heads: 4 },
}
/** Granite 4, dense: gate and up in one tensor. */
export const GRANITE4 = {
  ...{
    ...GRANITE,
    model_type: 'granitemoehybrid',
    num_local_experts: 0,
    num_hidden_layers: 3,
    shared_intermediate_size: 192,
  },
  ...{ layer_types: new Array(3).fill('attention'), position_embedding_type: 'rope', hidden_size: 96 },
}
export const QWEN3 = { model_type: 'qwen3', head_dim: 20, num_attention_heads: 4, rope_theta: 1e6, rms_norm_eps: 1e-6 }

/** OLMo 3 with what llama.cpp has a graph for. */
export const OLMO3 = {
  model_type: 'olmo3',
  tie_word_embeddings: false,
  num_attention_heads: 4,
  num_hidden_layers: 8,
  sliding_window: 9,
  rope_theta: 1e5,
}

export const NEOX = {
  ...{ model_type: 'gpt_neox', num_attention_heads: 4, num_key_value_heads: 4, tie_word_embeddings: false },
  ...{ rotary_pct: 1 / 3, layer_norm_eps: 1e-4 },
}

/** EXAONE 4 with what llama.cpp has a graph for: as large as the largest, or without windows. */
export const EXAONE4 = {
  model_type: 'exaone4',
  num_attention_heads: 4,
  rope_parameters: LLAMA3_ROPE,
  num_hidden_layers: 64,
  sliding_window: 9,
}
export const SMALL_EXAONE4 = { ...EXAONE4, num_hidden_layers: 4, sliding_window: null }
