// OPT: LayerNorm, learned positions offset by 2, plain FFN, biases everywhere; opt-350m normalises after the sum and
// has narrower embeddings. Source: transformers `models/opt/modeling_opt.py`.
import { ACTIVATIONS } from '../activations.ts'
import type { Family } from '../architecture.ts'
import type { Config } from '../config.ts'
import { llamaLike } from './llama.ts'

export function opt(config: Config): Family {
  const d = config.size('hidden_size')
  const preNorm = config.flag('do_layer_norm_before', true)
  const ends = preNorm && !config.flag('_remove_final_layer_norm', false)
  const role = preNorm ? 'before' : 'afterSum'
  const embeddingSize = config.size('word_embed_proj_dim', d)
  const bias = config.flag('enable_bias', true)
  const affine = config.flag('layer_norm_elementwise_affine', true)
  const norm = { type: 'layer', epsilon: 1e-5, affine } as const
  const at = (name: string) => `model.decoder.${name}`
  const projection = (name: string) => (embeddingSize === d ? undefined : at(name))
  return llamaLike(config, {
    classes: 'OPT',
    bias: { qkv: bias, o: bias, ffn: bias },
    biasFields: { enable_bias: true },
    rope: () => undefined,
    norm,
    norms: { attention: { [role]: 'self_attn_layer_norm' }, ffn: { [role]: 'final_layer_norm' } },
    attention: ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj', 'self_attn.out_proj'],
    activation: config.oneOf('activation_function', 'relu', ACTIVATIONS),
    ffn: ['fc1', 'fc2'],
    ffnWidthKey: 'ffn_dim',
    tied: config.flag('tie_word_embeddings', true),
    finalNorm: ends ? { ...norm, name: at('final_layer_norm'), size: d } : undefined,
    names: {
      layers: at('layers'),
      embedding: at('embed_tokens'),
      positions: at('embed_positions'),
      head: 'lm_head',
      projectIn: projection('project_in'),
      projectOut: projection('project_out'),
    },
    positionOffset: 2,
    embeddingSize,
  })
}
