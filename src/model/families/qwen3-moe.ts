// Qwen3 with a mixture of experts in each layer. Source: transformers `models/qwen3_moe/modeling_qwen3_moe.py` and `configuration_qwen3_moe.py`
// (version 5 writes the number of experts as `num_local_experts`).
import type { Architecture } from '../architecture.ts'
import type { Config } from '../config.ts'
import { mixture } from './experts.ts'
import { HEAD_NORMS, LLAMA_NORMS, llamaLike } from './llama.ts'

export function qwen3Moe(given: Config): Architecture {
  const config = given.or({ num_key_value_heads: 4, max_position_embeddings: 32768, sliding_window: 4096 })
  const window = config.flag('use_sliding_window', false) ? config.sizeOrNull('sliding_window') : undefined
  const { decoder_sparse_step: step = 1, mlp_only_layers: dense } = config.json
  if (step !== 1) throw config.error('decoder_sparse_step', step, '1: no published Qwen3 has layers without experts')
  if (Array.isArray(dense) && dense.length > 0)
    throw config.error('mlp_only_layers', dense, 'empty: no published Qwen3 has layers without experts')
  const attentionBias = config.flag('attention_bias', false)
  return llamaLike(config, {
    modelType: 'qwen3_moe',
    classes: 'Qwen3Moe',
    bias: { qkv: attentionBias, o: attentionBias, ffn: false },
    window: () => window,
    norms: { ...LLAMA_NORMS, attention: { ...LLAMA_NORMS.attention, ...HEAD_NORMS } },
    ffnWidthKey: 'moe_intermediate_size',
    ...mixture(config, ['mlp', 'gate_proj', 'up_proj', 'down_proj'], ['num_experts', 'num_local_experts'], {
      count: 128,
      active: 8,
      normalised: false,
    }),
  })
}
