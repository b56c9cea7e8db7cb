// Mistral: LLaMA whose tokens see the last `sliding_window` ones. Ministral 3: stretched by YaRN, and at position p,
// beyond the original context of C, queries are multiplied by 1 + β ln(1 + ⌊p / C⌋). Source: transformers
// `models/mistral/modeling_mistral.py` and `models/ministral3/modeling_ministral3.py`.
import type { Family } from '../architecture.ts'
import type { Config } from '../config.ts'
import { type LlamaFacts, llamaLike } from './llama.ts'

export function mistral(given: Config): Family {
  const config = given.or({ num_key_value_heads: 8, max_position_embeddings: 131072, sliding_window: 4096 })
  return mistralLike(config, { classes: 'Mistral', gguf: 'llama' })
}

/** A text has room for C tokens: up to there queries are as they are. */
export function ministral3(given: Config): Family {
  const sizes = { num_key_value_heads: 8, head_dim: 128, max_position_embeddings: 262144 }
  const config = given.or({ ...sizes, rms_norm_eps: 1e-5, sliding_window: null })
  const ropes = config.object('rope_parameters') ?? config.object('rope_scaling')
  if (!ropes) throw config.error('rope_parameters', undefined, 'an object')
  const maxPositions = Math.min(ropes.size('original_max_position_embeddings'), config.size('max_position_embeddings'))
  return mistralLike(config, { classes: 'Ministral3', gguf: 'mistral3', maxPositions })
}

type Facts = Pick<LlamaFacts, 'classes' | 'gguf' | 'maxPositions'>

const mistralLike = (config: Config, facts: Facts): Family =>
  llamaLike(config, { ...facts, window: () => config.sizeOrNull('sliding_window') })
