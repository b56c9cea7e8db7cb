// Qwen2 and Qwen2.5: LLaMA with biases on q, k and v, and windows from some layer on. Source: transformers
// `models/qwen2/modeling_qwen2.py` and `configuration_qwen2.py` (`layer_types`, which older configs lack).
import type { Family } from '../architecture.ts'
import type { Config } from '../config.ts'
import { type LlamaFacts, llamaLike } from './llama.ts'

export const qwen2 = (given: Config): Family =>
  qwenLike(given, { classes: 'Qwen2', gguf: 'qwen2', bias: { qkv: true } })

/** Their defaults and windows. */
export function qwenLike(given: Config, facts: LlamaFacts): Family {
  const config = given.or({ num_key_value_heads: 32, max_position_embeddings: 32768, sliding_window: 4096 })
  const first = config.count('max_window_layers', 28)
  const window = config.windows(layer => layer >= first)
  return llamaLike(config, {
    ...facts,
    window: config.flag('use_sliding_window', false) ? window : undefined,
  })
}
