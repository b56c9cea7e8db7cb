// Inverse frequencies of the rotary embedding: plain, linear, Llama 3, YaRN and LongRoPE; of whole heads or in part.
// Source: transformers `modeling_rope_utils.py`, `_compute_linear_scaling_rope_parameters` and those of the others.
import { UnsupportedModelError } from '../base/errors.ts'
import { describeValue } from '../base/json.ts'
import { Config } from './config.ts'
import type { Rope } from './half-block.ts'

type Scaled = Pick<Rope, 'inverseFrequencies' | 'long' | 'factor' | 'yarn'>

/** The part of a head that rotates where the config does not say (default all), and whether pairs are neighbours. */
export type RopeTurns = { readonly part?: number; readonly neighbours?: boolean }

/** @param headSize e @throws UnsupportedModelError for a kind of scaling that is not listed above */
export function readRope(config: Config, headSize: number, { part, neighbours = false }: RopeTurns = {}): Rope {
  // transformers 5 writes one object `rope_parameters`; 4.x writes `rope_theta` and some others beside `rope_scaling`.
  const own = config.object('rope_parameters') ?? config.object('rope_scaling')
  const fields = new Config(own?.where ?? config.where, { ...config.json, ...own?.json })
  const theta = fields.number('rope_theta', 10_000)
  const key = 'partial_rotary_factor'
  const turned = part === undefined ? headSize : Math.trunc(headSize * fields.number(key, part))
  if (turned < 2 || turned > headSize || turned % 2 !== 0)
    throw fields.error(key, fields.json[key], `a part of ${headSize} channels that is an even number of them`)
  const plain = Float64Array.from({ length: headSize / 2 }, (_, i) =>
    2 * i < turned ? theta ** ((-2 * i) / turned) : 0,
  )
  const order = turned < headSize || neighbours ? pairOrder(headSize, turned, neighbours) : undefined
  return { theta, ...scaling(fields, plain, turned / 2), order }
}

/** A head's channels in an order where pairs are (i, i + e/2): rotated channels, then the others. */
function pairOrder(headSize: number, turned: number, neighbours: boolean): number[] {
  const pairs = Array.from({ length: headSize / 2 }, (_, i) => {
    if (i >= turned / 2) return [i + turned / 2, i + headSize / 2]
    return neighbours ? [2 * i, 2 * i + 1] : [i, i + turned / 2]
  })
  return [0, 1].flatMap(side => pairs.map(pair => pair[side]))
}

function scaling(fields: Config, plain: Float64Array, pairs: number): Scaled {
  const { rope_type, type: older, short_factor } = fields.json
  // Phi-3 first called longrope "su" and "yarn".
  const type = short_factor ? 'longrope' : (rope_type ?? older ?? 'default')
  switch (type) {
    case 'default':
    case 'dynamic': // differs beyond `max_position_embeddings`, where there is no room
      return { inverseFrequencies: plain }
    case 'linear': {
      const factor = fields.number('factor', 1)
      return { inverseFrequencies: plain.map(f => f / factor) }
    }
    case 'llama3':
      return { inverseFrequencies: plain.map(llama3(fields)) }
    case 'yarn':
      return yarn(fields, plain, pairs)
    case 'longrope':
      return longRope(fields, plain, pairs)
    default:
      throw new UnsupportedModelError(
        `${fields.where}: rope type ${describeValue(type)} is not supported; ` +
          'default, linear, dynamic, llama3, yarn and longrope are.',
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
  const { max_position_embeddings } = config.json
  const fields = { max_position_embeddings, ...older, ...(own && { rope_parameters: own.json }) }
  return readRope(new Config(own?.where ?? config.where, fields), headSize)
}

function llama3(fields: Config): (frequency: number) => number {
  const factor = fields.number('factor', 8)
  const low = fields.number('low_freq_factor', 1)
  const high = fields.number('high_freq_factor', 4)
  const context = fields.size('original_max_position_embeddings', 8192)
  return frequency => {
    const turns = (context * frequency) / (2 * Math.PI) // rotations over the original context
    if (turns < low) return frequency / factor
    if (turns > high) return frequency
    const smooth = (turns - low) / (high - low)
    return ((1 - smooth) * frequency) / factor + smooth * frequency
  }
}

/** Positions of the model before it was stretched, and by what factor it was. */
function stretched(fields: Config) {
  const positions = fields.size('max_position_embeddings', 2048)
  const from = fields.size('original_max_position_embeddings', positions)
  return { from, factor: fields.number('factor', positions / from) }
}

/** From plain to linear scaling, between the pairs that turn `beta_fast` and `beta_slow` times in the old context. */
function yarn(fields: Config, plain: Float64Array, pairs: number): Scaled {
  const { from, factor } = stretched(fields)
  const theta = fields.number('rope_theta', 10_000)
  const pair = (turns: number) => (pairs * Math.log(from / (2 * Math.PI * turns))) / Math.log(theta)
  const truncates = fields.flag('truncate', true)
  const [fast, slow] = [fields.number('beta_fast', 32), fields.number('beta_slow', 1)]
  const [down, up] = truncates ? [Math.floor, Math.ceil] : [Number, Number]
  const [low, high] = [Math.max(0, down(pair(fast))), Math.min(2 * pairs - 1, up(pair(slow)))]
  const part = (i: number) => Math.min(1, Math.max(0, (i - low) / (high - low || 1e-3)))
  const grown = (m: number) => 1 + 0.1 * m * Math.log(Math.max(1, factor))
  const { mscale, mscale_all_dim: all } = fields.json
  const usual = mscale && all ? grown(Number(mscale)) / grown(Number(all)) : grown(1)
  return {
    inverseFrequencies: plain.map((f, i) => f * (1 - part(i)) + (f / factor) * part(i)),
    factor: fields.number('attention_factor', usual),
    yarn: { from, factor, usual: truncates && fast === 32 && slow === 1 },
  }
}

function longRope(fields: Config, plain: Float64Array, pairs: number): Scaled {
  const { from, factor } = stretched(fields)
  const usual = factor > 1 ? Math.sqrt(1 + Math.log(factor) / Math.log(from)) : 1
  const divided = (name: string) => {
    const list = fields.json[name]
    const isFactor = (v: unknown) => typeof v === 'number' && v > 0 && v < Infinity
    if (!(Array.isArray(list) && list.length === pairs && list.every(isFactor)))
      throw fields.error(name, list, `a list of ${pairs} numbers above 0`)
    return plain.map((f, i) => f && f / list[i])
  }
  return {
    inverseFrequencies: divided('short_factor'),
    long: { from, inverseFrequencies: divided('long_factor') },
    factor: fields.number('attention_factor', usual),
  }
}
