// LLaMA: RMSNorm, rotary positions, gated FFN, grouped queries. Source: transformers `models/llama/modeling_llama.py`.
import { ACTIVATIONS } from './activations.ts'
import type { Architecture } from './architecture.ts'
import type { Config } from './config.ts'
import { readRope } from './rope.ts'

/** Heads have up to 512 channels. A table of frequencies is made for as many, before any tensor is looked at. */
const MAX_HEAD_SIZE = 2 ** 14

export function llama(config: Config): Architecture {
  const hiddenSize = config.size('hidden_size')
  const heads = config.size('num_attention_heads')
  const headSize = config.size('head_dim', hiddenSize / heads, MAX_HEAD_SIZE)
  const attentionBias = config.flag('attention_bias', false)
  return {
    modelType: 'llama',
    hiddenSize,
    layers: config.size('num_hidden_layers'),
    heads,
    kvHeads: config.size('num_key_value_heads', heads),
    headSize,
    ffnWidth: config.size('intermediate_size'),
    ffnWidthKey: 'intermediate_size',
    vocabularySize: config.size('vocab_size'),
    maxPositions: config.size('max_position_embeddings', 2048),
    activation: config.oneOf('hidden_act', 'silu', ACTIVATIONS),
    norm: { type: 'rms', epsilon: config.number('rms_norm_eps', 1e-6), affine: true },
    postNorm: false,
    rope: readRope(config, headSize),
    bias: { qkv: attentionBias, o: attentionBias, ffn: config.flag('mlp_bias', false) },
    biasFields: { attention_bias: true, mlp_bias: true },
    tied: config.flag('tie_word_embeddings', false),
    positionOffset: 0,
    embeddingSize: hiddenSize,
    names: {
      layers: 'model.layers',
      layer: {
        attentionNorm: 'input_layernorm',
        q: 'self_attn.q_proj',
        k: 'self_attn.k_proj',
        v: 'self_attn.v_proj',
        o: 'self_attn.o_proj',
        ffnNorm: 'post_attention_layernorm',
        ffnIn: ['mlp.gate_proj', 'mlp.up_proj'],
        ffnOut: 'mlp.down_proj',
      },
      embedding: 'model.embed_tokens',
      finalNorm: 'model.norm',
      head: 'lm_head',
    },
  }
}
