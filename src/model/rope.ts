// Inverse frequencies of the rotary embedding: plain, linear scaling, and Llama 3's.
// Source: transformers `modeling_rope_utils.py`, `_compute_default_rope_parameters` and `_compute_llama3_parameters`.
import { UnsupportedModelError } from '../errors.ts'
import { describeValue } from '../formats/json.ts'
import { Config } from './config.ts'
import type { Rope } from './half-block.ts'

/** @param headSize e @throws UnsupportedModelError for a kind of scaling that is not listed above */
export function readRope(config: Config, headSize: number): Rope {
  // transformers 5 writes one object `rope_parameters`; 4.x writes `rope_theta` beside `rope_scaling`.
  const parameters = config.object('rope_parameters') ?? config.object('rope_scaling')
  const theta =
    parameters?.number('rope_theta', config.number('rope_theta', 10_000)) ?? config.number('rope_theta', 10_000)
  const inverseFrequencies = Float64Array.from({ length: headSize / 2 }, (_, i) => theta ** ((-2 * i) / headSize))
  const type = parameters?.json.rope_type ?? parameters?.json.type ?? 'default'
  switch (type) {
    case 'default':
      return { theta, inverseFrequencies }
    case 'linear': {
      const factor = parameters!.number('factor', 1)
      return { theta, inverseFrequencies: inverseFrequencies.map(f => f / factor) }
    }
    case 'llama3':
      return { theta, inverseFrequencies: inverseFrequencies.map(llama3(parameters!)) }
    default:
      throw new UnsupportedModelError(
        `${config.where}: rope type ${describeValue(type)} is not supported; default, linear and llama3 are.`,
      )
  }
}

/** The same of layers of one type, as transformers 5 lists them. @param older fields of configs that do not */
export function readLayerRope(
  config: Config,
  type: 'full_attention' | 'sliding_attention',
  older: Config['json'],
): Rope {
  const own = config.object('rope_parameters')?.object(type)
  const { headSize } = config.heads(config.size('hidden_size'))
  return readRope(
    new Config(own?.where ?? config.where, own ? { ...older, rope_parameters: own.json } : older),
    headSize,
  )
}

function llama3(parameters: Config): (frequency: number) => number {
  const factor = parameters.number('factor', 8)
  const low = parameters.number('low_freq_factor', 1)
  const high = parameters.number('high_freq_factor', 4)
  const context = parameters.size('original_max_position_embeddings', 8192)
  return frequency => {
    const turns = (context * frequency) / (2 * Math.PI) // rotations over the original context
    if (turns < low) return frequency / factor
    if (turns > high) return frequency
    const smooth = (turns - low) / (high - low)
    return ((1 - smooth) * frequency) / factor + smooth * frequency
  }
}
