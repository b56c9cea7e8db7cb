// Qwen3: Qwen2 with a norm of each query and key head, biases all or none, and heads of 128 channels whatever the
// width. Source: transformers `models/qwen3/modeling_qwen3.py` and `configuration_qwen3.py`.
import type { Family } from '../architecture.ts'
import type { Config } from '../config.ts'
import { attentionBiases, HEAD_NORMS, LLAMA_NORMS } from './llama.ts'
import { qwenLike } from './qwen2.ts'

export const qwen3 = (given: Config): Family =>
  qwenLike(given.or({ head_dim: 128 }), {
    classes: 'Qwen3',
    gguf: 'qwen3',
    bias: attentionBiases(given),
    norms: { ...LLAMA_NORMS, attention: { ...LLAMA_NORMS.attention, ...HEAD_NORMS } },
  })
