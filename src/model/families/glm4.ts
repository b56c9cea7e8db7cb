// GLM-4: LLaMA with norms after each branch, too, gate and up in one tensor, and half of each head turned, neighbours
// with each other. Source: transformers `models/glm4/modeling_glm4.py` and `configuration_glm4.py`.
import type { Family } from '../architecture.ts'
import type { Config } from '../config.ts'
import { llamaLike } from './llama.ts'

export function glm4(given: Config): Family {
  const sizes = { num_key_value_heads: 2, head_dim: 128, max_position_embeddings: 131072 }
  const config = given.or({ ...sizes, rms_norm_eps: 1.5625e-7 })
  return llamaLike(config, {
    classes: 'Glm4',
    gguf: 'glm4',
    bias: { qkv: config.flag('attention_bias', true) },
    turns: { part: 0.5, neighbours: true },
    norms: {
      attention: { before: 'input_layernorm', after: 'post_self_attn_layernorm' },
      ffn: { before: 'post_attention_layernorm', after: 'post_mlp_layernorm' },
    },
    ffn: ['mlp.gate_up_proj', 'mlp.gate_up_proj', 'mlp.down_proj'],
  })
}
