// EXAONE 4: LLaMA with norms after each branch alone, and of each query and key head; where layers have windows, the
// others do not turn. Source: transformers `models/exaone4/modeling_exaone4.py` and `configuration_exaone4.py`.
import type { Family } from '../architecture.ts'
import type { Config } from '../config.ts'
import { readRope } from '../rope.ts'
import { AFTER_NORMS, llamaLike } from './llama.ts'

export function exaone4(given: Config): Family {
  const config = given.or({ num_key_value_heads: 32, rms_norm_eps: 1e-5, sliding_window: 4096 })
  const window = config.windows(layer => (layer + 1) % config.size('sliding_window_pattern', 4) > 0)
  const rope = readRope(config, config.heads(config.size('hidden_size')).headSize)
  return llamaLike(config, {
    classes: 'Exaone4',
    gguf: 'exaone4',
    norms: AFTER_NORMS,
    window,
    rope: layer => (config.json.sliding_window === null || window(layer) ? rope : undefined),
  })
}
