// Positions in a GGUF file: keys, and tensors of divisors. Source: llama.cpp, conversion/base.py and phi.py;
// src/llama-context.cpp for the factor of scores by YaRN.
import { yarnFactor } from '../../checkpoint/gguf-rope.ts'
import { type GgufPair, ggufValue } from '../../formats/gguf-layout.ts'
import { type Architecture, attentionHalves } from '../../model/architecture.ts'
import type { Rope } from '../../model/half-block.ts'

export type Pairs = Readonly<Record<string, GgufPair[1] | undefined | false | 0>>
type Fields = Readonly<Record<string, unknown>>

/** Of all layers that have one; where some have windows, of those that have none. */
export const ropeOf = (a: Architecture): Rope => {
  const halves = attentionHalves(a).filter(({ rope }) => rope)
  return (halves.find(({ window }) => window === undefined) ?? halves[0]).rope!
}

export const isScaled = ({ theta, inverseFrequencies: f }: Rope): boolean =>
  f.some((frequency, i) => frequency !== theta ** (-i / f.length))

/**
 * What scaling divides the rotary frequencies by: one factor (`one`), a factor for each frequency (`any`, Llama 3), two
 * such sets by the length of the text (`long`, LongRoPE), or YaRN, which llama.cpp computes itself.
 */
export function ropeDivisors(a: Architecture): {
  kind: 'one' | 'any' | 'long' | 'yarn'
  divisors: Float32Array<ArrayBuffer>
  long: Float32Array<ArrayBuffer>
} {
  const { theta, inverseFrequencies, long, yarn } = ropeOf(a)
  const of = (frequencies: Float64Array) => {
    const scaled = frequencies.filter(f => f > 0)
    return Float32Array.from(scaled, (frequency, i) => theta ** (-i / scaled.length) / frequency)
  }
  const divisors = of(inverseFrequencies)
  const kind = long ? 'long' : yarn ? 'yarn' : divisors.every(d => Math.abs(d / divisors[0] - 1) < 1e-6) ? 'one' : 'any'
  return { kind, divisors, long: of(long?.inverseFrequencies ?? inverseFrequencies) }
}

/** The tensors of a file that hold such divisors. */
export function ropeTensors(a: Architecture): Map<string, Float32Array<ArrayBuffer>> {
  const { kind, divisors, long } = ropeDivisors(a)
  if (kind === 'long')
    return new Map([
      ['rope_factors_short.weight', divisors],
      ['rope_factors_long.weight', long],
    ])
  return new Map(kind === 'any' ? [['rope_freqs.weight', divisors]] : [])
}

/** @param config for what frequencies do not say */
export function ropePairs(a: Architecture, config: Fields): Pairs {
  const { count, real, text } = ggufValue
  const { kind, divisors } = ropeDivisors(a)
  const rope = ropeOf(a)
  const fields = (config.rope_parameters ?? config.rope_scaling ?? {}) as Fields
  const scaling = (fields.full_attention ?? fields) as Fields
  const stated = (name: string) => typeof scaling[name] === 'number' && (scaling[name] as number)
  const linear = kind === 'one' && divisors[0] !== 1
  const original = (rope.long ?? rope.yarn)?.from ?? stated('original_max_position_embeddings')
  const beta = stated('llama_4_scaling_beta')
  return {
    'rope.dimension_count': count(2 * divisors.length),
    'rope.freq_base': real(rope.theta),
    'rope.scaling.type': linear && text('linear'),
    'rope.scaling.factor': linear && real(divisors[0]),
    'rope.scaling.attn_factor': rope.long && real(rope.factor!),
    ...yarnPairs(rope, stated, a.gguf === 'mistral3'),
    'rope.scaling.original_context_length': kind !== 'one' && original && count(original),
    'attention.temperature_scale': beta && real(beta), // Ministral 3
  }
}

/** @param multiplied the graph knows `mscale_all_dim` */
function yarnPairs({ yarn, factor }: Rope, stated: (name: string) => number | false, multiplied: boolean): Pairs {
  if (!yarn) return {}
  const { real, text } = ggufValue
  const all = multiplied && stated('mscale') === 1 && stated('mscale_all_dim')
  const own = factor! / yarnFactor(yarn.factor, all || undefined)
  return {
    'rope.scaling.type': text('yarn'),
    'rope.scaling.factor': real(yarn.factor),
    'rope.scaling.attn_factor': Math.abs(own - 1) > 1e-6 && real(own),
    'rope.scaling.yarn_log_multiplier': all && real(all),
  }
}
