// How far the logits of another runtime are from ours, for the same weights and tokens; and what is allowed.

export interface Agreement {
  /** Mean KL(ours ‖ theirs) per position, in nats. */
  readonly divergence: number
  /** Largest difference of a probability of a next token. */
  readonly probability: number
  /** Tokens that both write, each the most likely one, before they part. */
  readonly same: number
  /** By how much we prefer another token where they part; 0 where they do not. */
  readonly preference: number
}

/** How far another runtime may be from us: the first and the last of `Agreement`. */
export type Allowance = Pick<Agreement, 'divergence' | 'preference'>

/**
 * Limits for llama.cpp by the type of the weights; `quantized` stands for all types with blocks. llama.cpp multiplies
 * float32 by float32, but rounds activations to float16, to bfloat16 (2^-9), or for block types to int8 (1/254 of the
 * largest). The most that was measured (test/llama-cpp): 7e-12, 3e-6, 3e-4 and 7e-3 nats, on SmolLM2, whose activations
 * have outliers. Rows in a wrong order or a wrong frequency give more than 0.1.
 */
const ALLOWED: Readonly<Record<string, Allowance>> = {
  F32: { divergence: 1e-6, preference: 1e-4 },
  F16: { divergence: 1e-4, preference: 0.01 },
  BF16: { divergence: 1e-3, preference: 0.03 },
  quantized: { divergence: 3e-2, preference: 0.1 },
}

/** @param mixture of experts: rounded activations send a token with nearly equal gates to another expert */
export const allowedFor = (dtype: string, mixture = false): Allowance =>
  (mixture && dtype !== 'F32' ? undefined : ALLOWED[dtype]) ?? ALLOWED.quantized

/**
 * @param ours logits [tokens + written, vocabulary] of a sequence followed by what the other runtime wrote after it
 * @param theirs logits [tokens, vocabulary] of the sequence
 * @param written tokens that it wrote, each the most likely one
 */
export function agreement(
  ours: Float32Array,
  theirs: Float32Array,
  written: readonly number[],
  vocabulary: number,
): Agreement {
  const row = (logits: Float32Array, i: number) => logSoftmax(logits.subarray(i * vocabulary, (i + 1) * vocabulary))
  const tokens = theirs.length / vocabulary
  let divergence = 0
  let probability = 0
  for (let i = 0; i < tokens; i++) {
    const [p, q] = [row(ours, i), row(theirs, i)]
    for (let token = 0; token < vocabulary; token++) {
      const likely = Math.exp(p[token])
      divergence += (likely * (p[token] - q[token])) / tokens
      probability = Math.max(probability, Math.abs(likely - Math.exp(q[token])))
    }
  }
  for (const [same, token] of written.entries()) {
    const p = row(ours, tokens - 1 + same)
    const preference = Math.exp(p.reduce((most, value) => Math.max(most, value))) - Math.exp(p[token])
    if (preference > 0) return { divergence, probability, same, preference }
  }
  return { divergence, probability, same: written.length, preference: 0 }
}

function logSoftmax(logits: Float32Array): Float64Array {
  const largest = logits.reduce((most, logit) => Math.max(most, logit), Number.NEGATIVE_INFINITY)
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0)
  return Float64Array.from(logits, logit => logit - largest - Math.log(total))
}
