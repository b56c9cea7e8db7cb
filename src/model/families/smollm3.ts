// SmolLM3: LLaMA whose every fourth layer does not turn queries and keys; those may have windows. Source: transformers
// `models/smollm3/modeling_smollm3.py` and `configuration_smollm3.py`.
import type { Family } from '../architecture.ts'
import type { Config } from '../config.ts'
import { readRope } from '../rope.ts'
import { biasesOfAll, llamaLike } from './llama.ts'

export function smollm3(given: Config): Family {
  const config = given.or({
    num_key_value_heads: 4,
    max_position_embeddings: 32768,
    tie_word_embeddings: true,
    rope_theta: 2e6,
    sliding_window: null,
  })
  const every = config.size('no_rope_layer_interval', 4)
  const layers = config.layerCount()
  const turns = config.json.no_rope_layers ?? Array.from({ length: layers }, (_, i) => Number((i + 1) % every > 0))
  if (!(Array.isArray(turns) && turns.length === layers && turns.every(t => t === 0 || t === 1)))
    throw config.error('no_rope_layers', turns, `a list of ${layers}, each 0 (no rope) or 1`)
  const window = config.windows(layer => turns[layer] === 0)
  const rope = readRope(config, config.heads(config.size('hidden_size')).headSize)
  return llamaLike(config, {
    classes: 'SmolLM3',
    gguf: 'smollm3',
    ...biasesOfAll(config),
    window: config.flag('use_sliding_window', false) ? window : undefined,
    rope: layer => (turns[layer] === 1 ? rope : undefined),
  })
}
