// Picks the next token from logits: greedy, or at random from the model's own distribution, cut to its likely part.

export interface SamplingOptions {
  /** 0 is greedy: the most likely token. @default 0 */
  readonly temperature?: number
  /** Only the `topK` most likely tokens. @default all */
  readonly topK?: number
  /** Only the most likely tokens whose probabilities reach `topP` together. @default 1 */
  readonly topP?: number
}

/** @param logits [vocabulary] */
export function pickToken(logits: Float32Array, options: SamplingOptions, random: () => number): number {
  const { temperature = 0, topK = logits.length, topP = 1 } = options
  let best = 0
  for (let i = 1; i < logits.length; i++) if (logits[i] > logits[best]) best = i
  if (temperature === 0) return best
  const weights = logits.map(l => Math.exp((l - logits[best]) / temperature))
  const candidates = topK < logits.length || topP < 1 ? likely(weights, topK, topP) : undefined
  const at = (i: number) => (candidates ? candidates[i] : i)
  const n = candidates?.length ?? weights.length
  let total = 0
  for (let i = 0; i < n; i++) total += weights[at(i)]
  let left = random() * total
  for (let i = 0; i < n; i++) if ((left -= weights[at(i)]) < 0) return at(i)
  return best
}

/** Indices of the largest weights, at most `topK`, as few as reach `topP` of the sum. */
function likely(weights: Float32Array, topK: number, topP: number): Int32Array {
  const order = Int32Array.from(weights.keys()).sort((i, j) => weights[j] - weights[i] || i - j)
  const enough = topP * weights.reduce((sum, w) => sum + w, 0)
  let count = 0
  for (let sum = 0; count < Math.min(topK, order.length) && sum < enough; count++) sum += weights[order[count]]
  return order.subarray(0, Math.max(1, count))
}
