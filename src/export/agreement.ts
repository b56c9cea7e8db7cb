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

/**
 * Largest mean divergence, and largest preference, by the type of the weights; `quantized` stands for all with blocks. llama.cpp multiplies
 * float32 by float32, but rounds activations to float16, to bfloat16 (2^-9), or to blocks of int8 (1/254 of the largest) where weights are of
 * that kind. The most that was measured (test/llama-cpp): 7e-12, 3e-6, 3e-4 and 7e-3 nats, on SmolLM2, whose activations have outliers.
 * Rows in a wrong order or a wrong frequency give more than 0.1.
 */
const ALLOWED = {
  F32: { divergence: 1e-6, preference: 1e-4 },
  F16: { divergence: 1e-4, preference: 0.01 },
  BF16: { divergence: 1e-3, preference: 0.03 },
  quantized: { divergence: 3e-2, preference: 0.1 },
}

export const allowedFor = (dtype: string): { readonly divergence: number; readonly preference: number } =>
  ALLOWED[dtype as keyof typeof ALLOWED] ?? ALLOWED.quantized

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
  const row = (logits: Float32Array, i: number) => softmax(logits.subarray(i * vocabulary, (i + 1) * vocabulary))
  const tokens = theirs.length / vocabulary
  let divergence = 0
  let probability = 0
  for (let i = 0; i < tokens; i++) {
    const [p, q] = [row(ours, i), row(theirs, i)]
    for (let token = 0; token < vocabulary; token++) {
      if (p[token] > 0) divergence += (p[token] * Math.log(p[token] / q[token])) / tokens
      probability = Math.max(probability, Math.abs(p[token] - q[token]))
    }
  }
  for (const [same, token] of written.entries()) {
    const p = row(ours, tokens - 1 + same)
    const preference = p.reduce((most, value) => Math.max(most, value), 0) - p[token]
    if (preference > 0) return { divergence, probability, same, preference }
  }
  return { divergence, probability, same: written.length, preference: 0 }
}

function softmax(logits: Float32Array): Float64Array {
  const largest = logits.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY)
  const exps = Float64Array.from(logits, logit => Math.exp(logit - largest))
  const sum = exps.reduce((total, value) => total + value, 0)
  return exps.map(value => value / sum)
}
