// Mistral: LLaMA whose tokens see the last `sliding_window` ones. Source: transformers `models/mistral/modeling_mistral.py`.
import type { Architecture } from '../architecture.ts'
import type { Config } from '../config.ts'
import { llamaLike } from './llama.ts'

export function mistral(given: Config): Architecture {
  const config = given.or({ num_key_value_heads: 8, max_position_embeddings: 131072, sliding_window: 4096 })
  const window = config.sizeOrNull('sliding_window')
  return llamaLike(config, {
    modelType: 'mistral',
    classes: 'Mistral',
    gguf: 'llama',
    bias: { qkv: false, o: false, ffn: false },
    window: () => window,
  })
}
