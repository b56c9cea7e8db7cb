// Picks the next token from logits: greedy, or at random from the model's own distribution, cut to its likely part.

export interface SamplingOptions {
  /** 0 is greedy: the most likely token. @default 0 */
  readonly temperature?: number
  /** Only the `topK` most likely tokens. @default all */
  readonly topK?: number
  /** Only the most likely tokens whose probabilities reach `topP` together. @default 1 */
  readonly topP?: number
}

/** @param scores of a decoder [vocabulary]: logits, or probabilities at a temperature above 0 */
export function pickToken(scores: Float32Array, options: SamplingOptions, random: () => number): number {
  const { temperature = 0, topK = scores.length, topP = 1 } = options
  if (temperature === 0) return mostLikely(scores)
  if (topK >= scores.length && topP >= 1) return draw(scores, random)
  const candidates = likely(scores, topK, topP)
  const among = Float32Array.from(candidates, i => scores[i])
  return candidates[draw(among, random)]
}

function mostLikely(scores: Float32Array): number {
  let best = 0
  for (let i = 1; i < scores.length; i++) if (scores[i] > scores[best]) best = i
  return best
}

/** A random index, each with a probability in proportion to its weight. */
function draw(weights: Float32Array, random: () => number): number {
  let total = 0
  for (let i = 0; i < weights.length; i++) total += weights[i]
  let left = random() * total
  for (let i = 0; i < weights.length; i++) if ((left -= weights[i]) < 0) return i
  return mostLikely(weights) // rounding
}

/** Indices of the largest weights, at most `topK`, as few as reach `topP` of the sum. */
function likely(weights: Float32Array, topK: number, topP: number): Int32Array {
  const order = Int32Array.from(weights.keys()).sort((i, j) => weights[j] - weights[i] || i - j)
  const enough = topP * weights.reduce((sum, w) => sum + w, 0)
  let count = 0
  for (let sum = 0; count < Math.min(topK, order.length) && sum < enough; count++) sum += weights[order[count]]
  return order.subarray(0, Math.max(1, count))
}
