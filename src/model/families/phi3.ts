// Phi-3 and Phi-4: LLaMA with q, k and v in one tensor, gate and up in another; heads may rotate in part, long texts
// at other frequencies. Source: transformers `models/phi3/modeling_phi3.py` and `configuration_phi3.py`.
import type { Family } from '../architecture.ts'
import type { Config } from '../config.ts'
import { llamaLike } from './llama.ts'

export function phi3(given: Config): Family {
  const sizes = { max_position_embeddings: 4096, original_max_position_embeddings: 4096 }
  const config = given.or({ ...sizes, rms_norm_eps: 1e-5, sliding_window: null })
  return llamaLike(config, {
    classes: 'Phi3',
    gguf: 'phi3',
    window: () => config.sizeOrNull('sliding_window'),
    turns: { part: 1 },
    attention: ['self_attn.qkv_proj', 'self_attn.qkv_proj', 'self_attn.qkv_proj', 'self_attn.o_proj'],
    ffn: ['mlp.gate_up_proj', 'mlp.gate_up_proj', 'mlp.down_proj'],
  })
}
