// Gemma 3, text: a norm of each query and key head, norms before and after each branch that multiply by 1 + γ,
// embeddings times √d, and of six layers five that see a window, with a rope of their own. Source: transformers
// `models/gemma3/modeling_gemma3.py` and `configuration_gemma3.py` (fields of its versions 4 and 5).
import { ACTIVATIONS } from '../activations.ts'
import type { Family } from '../architecture.ts'
import type { Config } from '../config.ts'
import { readLayerRope } from '../rope.ts'
import { attentionBiases, HEAD_NORMS, llamaLike } from './llama.ts'

const DEFAULTS = {
  hidden_size: 2304,
  num_hidden_layers: 26,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  head_dim: 256,
  intermediate_size: 9216,
  max_position_embeddings: 131072,
  sliding_window: 4096,
  tie_word_embeddings: true,
}

export function gemma3(given: Config): Family {
  const config = given.or(DEFAULTS)
  for (const key of ['attn_logit_softcapping', 'final_logit_softcapping', 'use_bidirectional_attention'])
    if (config.json[key]) throw config.error(key, config.json[key], 'null or false: no published Gemma 3 has it')
  const every = config.size('sliding_window_pattern', 6)
  const window = config.windows(layer => (layer + 1) % every > 0)
  const { rope_theta = 1e6, rope_scaling, rope_local_base_freq = 1e4 } = config.json
  const local = readLayerRope(config, 'sliding_attention', { rope_theta: rope_local_base_freq })
  const global = readLayerRope(config, 'full_attention', { rope_theta, rope_scaling })
  return llamaLike(config, {
    classes: 'Gemma3Text',
    headClass: 'Gemma3',
    gguf: 'gemma3',
    bias: attentionBiases(config),
    activation: config.oneOf('hidden_activation', 'gelu_pytorch_tanh', ACTIVATIONS),
    window,
    rope: layer => (window(layer) ? local : global),
    norms: {
      attention: { before: 'input_layernorm', ...HEAD_NORMS, after: 'post_attention_layernorm' },
      ffn: { before: 'pre_feedforward_layernorm', after: 'post_feedforward_layernorm' },
    },
    norm: { offset: 1 },
    scale: config.size('query_pre_attn_scalar', 256) ** -0.5,
    embeddingScale: Math.sqrt(config.size('hidden_size')),
  })
}
