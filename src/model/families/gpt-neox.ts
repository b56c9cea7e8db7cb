// GPT-NeoX and Pythia: LayerNorm, a part of each head rotated, a plain FFN beside attention or after it, biases, and q,
// k and v in one tensor. Source: transformers `modeling_gpt_neox.py`, `configuration_gpt_neox.py` (versions 4 and 5).
import type { Family } from '../architecture.ts'
import type { Config } from '../config.ts'
import { attentionBiases, llamaLike } from './llama.ts'

export function gptNeox(given: Config): Family {
  const [theta, part] = [given.number('rotary_emb_base', 10000), given.number('rotary_pct', 0.25)]
  const rope = { rope_theta: theta, partial_rotary_factor: part }
  const config = given.or({ ...rope, hidden_act: 'gelu', attention_bias: true })
  const norm = { type: 'layer', epsilon: config.number('layer_norm_eps', 1e-5) } as const
  const qkv = 'attention.query_key_value'
  return llamaLike(config, {
    classes: 'GPTNeoX',
    gguf: 'gptneox',
    each: { parallel: config.flag('use_parallel_residual', true), headwise: true },
    turns: { part: 0.25 },
    ropeFields: ['rotary_emb_base', 'rotary_pct'],
    bias: { ...attentionBiases(config), ffn: true },
    biasFields: { attention_bias: true },
    norm,
    attention: [qkv, qkv, qkv, 'attention.dense'],
    ffn: ['mlp.dense_h_to_4h', 'mlp.dense_4h_to_h'],
    finalNorm: { ...norm, name: 'gpt_neox.final_layer_norm', size: config.size('hidden_size'), affine: true },
    names: { layers: 'gpt_neox.layers', embedding: 'gpt_neox.embed_in', head: 'embed_out' },
  })
}
