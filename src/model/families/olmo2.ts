// OLMo 2: LLaMA with norms after each branch alone, and one norm over all heads of q and of k. OLMo 3: three of
// four layers see a window, whose positions are never scaled. Source: transformers `modeling_olmo2.py`, `_olmo3.py`.
import type { Family } from '../architecture.ts'
import type { Config } from '../config.ts'
import { readLayerRope } from '../rope.ts'
import { AFTER_NORMS, attentionBiases, type LlamaFacts, llamaLike } from './llama.ts'

export const olmo2 = (config: Config): Family => olmoLike(config, { classes: 'Olmo2' })

export function olmo3(given: Config): Family {
  const config = given.or({ sliding_window: 4096, rope_theta: 5e5 })
  const window = config.windows(layer => (layer + 1) % 4 > 0)
  const { rope_theta, rope_scaling } = config.json
  const local = readLayerRope(config, 'sliding_attention', { rope_theta })
  const global = readLayerRope(config, 'full_attention', { rope_theta, rope_scaling })
  return olmoLike(config, { classes: 'Olmo3', window, rope: layer => (window(layer) ? local : global) })
}

function olmoLike(given: Config, facts: Pick<LlamaFacts, 'classes' | 'window' | 'rope'>): Family {
  const config = given.or({ rms_norm_eps: 1e-5 })
  const bias = attentionBiases(config)
  return llamaLike(config, { ...facts, gguf: 'olmo2', bias, norms: AFTER_NORMS, wholeNorms: true })
}
