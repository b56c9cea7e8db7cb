// OPT: LayerNorm, learned positions offset by 2, plain FFN, biases everywhere; opt-350m normalises after the sum and has
// narrower embeddings. Source: transformers `models/opt/modeling_opt.py`.
import { ACTIVATIONS } from './activations.ts'
import type { Architecture } from './architecture.ts'
import type { Config } from './config.ts'

export function opt(config: Config): Architecture {
  const hiddenSize = config.size('hidden_size')
  const heads = config.size('num_attention_heads')
  const preNorm = config.flag('do_layer_norm_before', true)
  const embeddingSize = config.size('word_embed_proj_dim', hiddenSize)
  const bias = config.flag('enable_bias', true)
  const projected = embeddingSize !== hiddenSize
  return {
    modelType: 'opt',
    hiddenSize,
    layers: config.size('num_hidden_layers'),
    heads,
    kvHeads: heads,
    headSize: hiddenSize / heads,
    ffnWidth: config.size('ffn_dim'),
    ffnWidthKey: 'ffn_dim',
    vocabularySize: config.size('vocab_size'),
    maxPositions: config.size('max_position_embeddings', 2048),
    activation: config.oneOf('activation_function', 'relu', ACTIVATIONS),
    norm: { type: 'layer', epsilon: 1e-5, affine: config.flag('layer_norm_elementwise_affine', true) },
    postNorm: !preNorm,
    bias: { qkv: bias, o: bias, ffn: bias },
    biasFields: { enable_bias: true },
    tied: config.flag('tie_word_embeddings', true),
    positionOffset: 2,
    embeddingSize,
    names: {
      layers: 'model.decoder.layers',
      layer: {
        attentionNorm: 'self_attn_layer_norm',
        q: 'self_attn.q_proj',
        k: 'self_attn.k_proj',
        v: 'self_attn.v_proj',
        o: 'self_attn.out_proj',
        ffnNorm: 'final_layer_norm',
        ffnIn: ['fc1'],
        ffnOut: 'fc2',
      },
      embedding: 'model.decoder.embed_tokens',
      positions: 'model.decoder.embed_positions',
      finalNorm:
        preNorm && !config.flag('_remove_final_layer_norm', false) ? 'model.decoder.final_layer_norm' : undefined,
      head: 'lm_head',
      projectIn: projected ? 'model.decoder.project_in' : undefined,
      projectOut: projected ? 'model.decoder.project_out' : undefined,
    },
  }
}
