// Qwen2 and Qwen2.5: LLaMA with biases on q, k and v; from some layer on tokens may see only the last ones. Source: transformers
// `models/qwen2/modeling_qwen2.py` and `configuration_qwen2.py` (`layer_types`, which older configs do not list).
import type { Architecture } from '../architecture.ts'
import type { Config } from '../config.ts'
import { llamaLike } from './llama.ts'

export function qwen2(config: Config): Architecture {
  const window = config.flag('use_sliding_window', false) ? config.size('sliding_window', 4096) : undefined
  const first = config.count('max_window_layers', 28)
  const types = config.json.layer_types
  const slides = (layer: number) => (Array.isArray(types) ? types[layer] === 'sliding_attention' : layer >= first)
  return llamaLike(config, {
    modelType: 'qwen2',
    classes: 'Qwen2',
    gguf: 'qwen2',
    bias: { qkv: true, o: false, ffn: false },
    window: layer => (slides(layer) ? window : undefined),
  })
}
