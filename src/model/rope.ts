// Inverse frequencies of the rotary embedding: plain, linear scaling, Llama 3's, and LongRoPE's; of whole heads, or of their first channels.
// Source: transformers `modeling_rope_utils.py`, `_compute_linear_scaling_rope_parameters`, `_compute_llama3_parameters` and
// `_compute_longrope_parameters`.
import { UnsupportedModelError } from '../errors.ts'
import { describeValue } from '../formats/json.ts'
import { Config } from './config.ts'
import type { Rope } from './half-block.ts'

/** What of a head a family turns. */
interface Turned {
  /** The part where the config does not say. @default all, whatever it says */
  readonly part?: number
}

/** @param headSize e @throws UnsupportedModelError for a kind of scaling that is not listed above */
export function readRope(config: Config, headSize: number, { part }: Turned = {}): Rope {
  // transformers 5 writes one object `rope_parameters`; 4.x writes `rope_theta` beside `rope_scaling`.
  const parameters = config.object('rope_parameters') ?? config.object('rope_scaling') ?? config
  const theta = parameters.number('rope_theta', config.number('rope_theta', 10_000))
  const turned = part === undefined ? headSize : turnedChannels(config, parameters, headSize, part)
  const plain = Float64Array.from({ length: turned / 2 }, (_, i) => theta ** ((-2 * i) / turned))
  const { long, ...scaled } = scaling(config, parameters, plain)
  const whole = (some: Float64Array) => Float64Array.from({ length: headSize / 2 }, (_, i) => some[i] ?? 0)
  return {
    theta,
    ...scaled,
    inverseFrequencies: whole(scaled.inverseFrequencies),
    ...(long && { long: { ...long, inverseFrequencies: whole(long.inverseFrequencies) } }),
    ...(turned < headSize && { order: pairOrder(headSize, turned) }),
  }
}

function turnedChannels(config: Config, parameters: Config, headSize: number, part: number): number {
  const key = 'partial_rotary_factor'
  const factor = parameters.number(key, config.number(key, part))
  const turned = Math.trunc(headSize * factor)
  if (turned < 2 || turned > headSize || turned % 2 !== 0)
    throw config.error(key, factor, `a part of the ${headSize} channels of a head that is an even number of them`)
  return turned
}

/** The channels of a head so that pairs are (i, i + e/2): of the first `turned` ones the two halves, then those of the rest. */
function pairOrder(headSize: number, turned: number): number[] {
  const pairs = Array.from({ length: headSize / 2 }, (_, i) =>
    i < turned / 2 ? [i, i + turned / 2] : [i + turned / 2, i + headSize / 2],
  )
  return [0, 1].flatMap(side => pairs.map(pair => pair[side]))
}

function scaling(
  config: Config,
  parameters: Config,
  plain: Float64Array,
): Pick<Rope, 'inverseFrequencies' | 'long' | 'factor'> {
  const { rope_type, type: older, short_factor } = parameters.json
  const type = short_factor ? 'longrope' : (rope_type ?? older ?? 'default') // which Phi-3 called "su" and "yarn" at first
  switch (type) {
    case 'default':
      return { inverseFrequencies: plain }
    case 'linear': {
      const factor = parameters.number('factor', 1)
      return { inverseFrequencies: plain.map(f => f / factor) }
    }
    case 'llama3':
      return { inverseFrequencies: plain.map(llama3(parameters)) }
    case 'longrope':
      return longRope(config, parameters, plain)
    default:
      throw new UnsupportedModelError(
        `${config.where}: rope type ${describeValue(type)} is not supported; default, linear, llama3 and longrope are.`,
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

function longRope(config: Config, parameters: Config, plain: Float64Array) {
  const key = 'original_max_position_embeddings'
  const positions = config.size('max_position_embeddings')
  const from = config.size(key, parameters.size(key, positions))
  const factor = parameters.number('factor', positions / from)
  const usual = factor > 1 ? Math.sqrt(1 + Math.log(factor) / Math.log(from)) : 1
  const divided = (name: string) => {
    const list = parameters.json[name]
    const isFactor = (v: unknown) => typeof v === 'number' && v > 0 && v < Infinity
    if (!(Array.isArray(list) && list.length === plain.length && list.every(isFactor)))
      throw parameters.error(name, list, `a list of ${plain.length} numbers above 0`)
    return plain.map((f, i) => f / list[i])
  }
  return {
    inverseFrequencies: divided('short_factor'),
    long: { from, inverseFrequencies: divided('long_factor') },
    factor: parameters.number('attention_factor', usual),
  }
}
