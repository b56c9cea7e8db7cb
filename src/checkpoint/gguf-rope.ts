// Rope scaling of a GGUF file as config.json spells it. Metadata hold linear scaling and YaRN, two tensors LongRoPE's
// divisors. Llama 3's scaling is a tensor of divisors, `rope_freqs.weight`; its parameters are those that give the
// same divisors (transformers, modeling_rope_utils.py, `_compute_llama3_parameters`), with wavelength w = 2π·θ^(2i/e):
//   w < C/high: 1; w > C/low: factor; between: 1 / ((1 − s)/factor + s), s = (C/w − low)/(high − low)
import { UnsupportedModelError } from '../base/errors.ts'
import type { TensorSource } from '../formats/tensors.ts'
import type { GgufMetadata } from './gguf-metadata.ts'

/** Every Llama 3.1 to 3.3 has these; llama.cpp's converter writes none of them. */
const LLAMA3 = { low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 }
/** Relative; the divisors are float32 and the published factors whole. */
const TOLERANCE = 1e-3

/** GGUF holds float32: 9.999999747378752e-06 was 1e-05. */
export const decimal = (value: number): number => Number(value.toPrecision(6))

/** Divisors of the frequencies that a file has as tensors. */
interface Divisors {
  readonly freqs?: Float32Array
  readonly short?: Float32Array
  readonly long?: Float32Array
}

/** @param rotated channels of a head that are turned */
export async function readDivisors(
  metadata: GgufMetadata,
  { tensors, float32 }: TensorSource,
  rotated: number,
): Promise<Divisors> {
  const read = async (name: string) => {
    const values = tensors.has(name) ? await float32(name) : undefined
    if (values && values.length !== rotated / 2)
      throw metadata.error(
        `${name} has ${values.length} values; ${rotated} turned channels of a head need half as many`,
      )
    return values
  }
  const [short, long] = [await read('rope_factors_short.weight'), await read('rope_factors_long.weight')]
  return { freqs: await read('rope_freqs.weight'), short, long }
}

export function ropeScaling(
  metadata: GgufMetadata,
  { freqs: factors, short, long }: Divisors,
  theta: number,
): Record<string, unknown> | null {
  if (short && long) return longRope(metadata, short, long)
  const linear = linearScaling(metadata)
  const scaled = factors?.some(factor => Math.abs(factor - 1) > TOLERANCE) ? factors : undefined
  if (linear !== null && scaled !== undefined)
    throw new UnsupportedModelError(
      `${metadata.file}: both linear rope scaling and rope_freqs.weight; one of them is supported`,
    )
  return scaled === undefined ? linear : llama3Scaling(metadata, scaled, theta)
}

function longRope(metadata: GgufMetadata, short: Float32Array, long: Float32Array): Record<string, unknown> {
  const context = metadata.need('llama.context_length', metadata.count('llama.context_length'))
  const key = 'llama.rope.scaling.original_context_length'
  const original = metadata.need(key, metadata.count(key))
  const usual = context > original ? Math.sqrt(1 + Math.log(context / original) / Math.log(original)) : 1
  const factor = metadata.real('llama.rope.scaling.attn_factor') ?? 1
  return {
    type: 'longrope',
    short_factor: [...short].map(decimal),
    long_factor: [...long].map(decimal),
    // transformers 4 has no such field
    ...(Math.abs(factor / usual - 1) > TOLERANCE && { attention_factor: decimal(factor) }),
  }
}

function linearScaling(metadata: GgufMetadata): Record<string, unknown> | null {
  // Files of 2023 have only `scale_linear`.
  const factor = metadata.real('llama.rope.scaling.factor') ?? metadata.real('llama.rope.scale_linear') ?? 1
  const type = metadata.text('llama.rope.scaling.type') ?? (factor === 1 ? 'none' : 'linear')
  if (type === 'none' || (type === 'linear' && factor === 1)) return null
  if (type === 'linear' && factor > 0) return { rope_type: 'linear', type: 'linear', factor }
  if (type === 'yarn' && factor > 0) return yarn(metadata, factor)
  throw new UnsupportedModelError(
    `${metadata.file}: rope scaling "${type}" with factor ${factor}; ` +
      'none, linear, YaRN and Llama 3 (rope_freqs.weight) are supported',
  )
}

/** llama.cpp computes the attention factor as transformers does where the config has none (src/llama-context.cpp). */
export const yarnFactor = (factor: number, mscaleAllDim?: number): number => {
  const grown = (m: number) => 1 + 0.1 * m * Math.log(Math.max(1, factor))
  return mscaleAllDim ? grown(1) / grown(mscaleAllDim) : grown(1)
}

function yarn(metadata: GgufMetadata, factor: number): Record<string, unknown> {
  const real = (key: string) => metadata.real(`llama.rope.scaling.${key}`)
  const [fast, slow] = [real('yarn_beta_fast'), real('yarn_beta_slow')]
  // Other graphs do not know the key.
  const all = metadata.prefix === 'mistral3.' ? real('yarn_log_multiplier') : undefined
  const usual = yarnFactor(factor, all)
  const attention = real('yarn_attn_factor') ?? usual * (real('attn_factor') ?? 1)
  const context = metadata.count('llama.rope.scaling.original_context_length') ?? metadata.count('llama.context_length')
  return {
    ...{ rope_type: 'yarn', type: 'yarn', factor, original_max_position_embeddings: context },
    ...(fast && { beta_fast: fast }),
    ...(slow && { beta_slow: slow }),
    ...(all && { mscale: 1, mscale_all_dim: decimal(all) }),
    ...(Math.abs(attention / usual - 1) > TOLERANCE && { attention_factor: decimal(attention) }),
  }
}

function llama3Scaling(metadata: GgufMetadata, factors: Float32Array, theta: number): Record<string, unknown> {
  const last = factors[factors.length - 1]
  const factor = Math.abs(last - Math.round(last)) < TOLERANCE ? Math.round(last) : Number(last.toPrecision(6))
  const context = metadata.count('llama.rope.scaling.original_context_length')
  for (const original of new Set([
    context ?? LLAMA3.original_max_position_embeddings,
    LLAMA3.original_max_position_embeddings,
  ])) {
    const parameters = { factor, ...LLAMA3, original_max_position_embeddings: original }
    if (matches(factors, llama3Factors(parameters, theta, factors.length)))
      return { rope_type: 'llama3', ...parameters }
  }
  throw new UnsupportedModelError(
    `${metadata.file}: rope_freqs.weight (1 to ${last}) is no Llama 3 scaling with ` +
      `${JSON.stringify(LLAMA3)}, which is the one supported. Use the Hugging Face folder of the model`,
  )
}

const matches = (given: Float32Array, wanted: readonly number[]): boolean =>
  wanted.every((value, i) => Math.abs(given[i] - value) <= TOLERANCE * value)

/** Divisors of the rope frequencies, [count] = [headSize / 2]. */
export function llama3Factors(parameters: typeof LLAMA3 & { factor: number }, theta: number, count: number): number[] {
  const { factor, low_freq_factor: low, high_freq_factor: high, original_max_position_embeddings: context } = parameters
  return Array.from({ length: count }, (_, i) => {
    const turns = context / (2 * Math.PI * theta ** (i / count))
    if (turns > high) return 1
    if (turns < low) return factor
    const smooth = (turns - low) / (high - low)
    return 1 / ((1 - smooth) / factor + smooth)
  })
}
