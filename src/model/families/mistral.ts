// Mistral: LLaMA whose tokens see the last `sliding_window` ones. Source: transformers `models/mistral/modeling_mistral.py`.
import type { Architecture } from '../architecture.ts'
import type { Config } from '../config.ts'
import { llamaLike } from './llama.ts'

export function mistral(config: Config): Architecture {
  const window = config.json.sliding_window === null ? undefined : config.size('sliding_window', 4096)
  return llamaLike(config, {
    modelType: 'mistral',
    classes: 'Mistral',
    gguf: 'llama',
    bias: { qkv: false, o: false, ffn: false },
    window: () => window,
  })
}
