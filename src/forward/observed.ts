// What is seen of a half-block before its output layer. Where a norm follows that layer, an error of it counts as the norm leaves it. With
// r = 1 / std of what is normalised, u = H Wᵀ + b or x + u, held as it is while nothing is cut (ours), and γ and β of the norm:
//   y = x + γ r u  or  γ r (x + u − mean) + β  =  rest + H̃ W̃ᵀ + b,   H̃ = r H,  W̃ = diag(γ) W
// or, where the update is multiplied by m:  y = x + m u,  H̃ = H,  W̃ = m W.
// The rest does not change with W. It takes the place of x, as H̃ and W̃ those of H and W (docs/method.md).
import { type Engine, hostOf, type Rows } from '../engine/engine.ts'
import type { Floats } from '../formats/tensors.ts'
import { transposed } from '../linalg/scatter.ts'
import { hiddenSize } from '../model/half-block.ts'
import type { HalfWeights } from './weights.ts'

/** What a half-block computes of one batch before its output layer, and what is to come out. */
export interface Observed {
  /** `Hᵀ` [width, tokens] */
  readonly h: Rows
  readonly tokens: number
  /** The stream before the half-block, or the rest [tokens, d]. */
  readonly x: Rows
  /** The dense stream after it [tokens, d], where one goes beside. */
  readonly y?: Rows
  /** r [tokens], where a norm follows. */
  readonly scale?: Floats
}

/** Adds up what it needs to know of all batches. */
export interface Accumulator {
  add(observed: Observed): Promise<void>
}

/** Of the largest γ: what counts less counts as so much, and is not asked to make up for what the stream lacks. */
const LEAST_GAIN = 1e-3

/** The norm after the output layer. Undefined where there is none. */
function outputNorm({ half, norms }: HalfWeights) {
  const role = half.norms.after ? 'after' : 'afterSum'
  const [norm, weights] = [half.norms[role], norms[role]]
  if (!norm || !weights) return undefined
  const gamma = weights[`${role}.weight`].data
  const least = gamma.reduce((most, g) => Math.max(most, LEAST_GAIN * Math.abs(g)), 1e-30)
  const gains = gamma.map(g => (Math.abs(g) > least ? g : least))
  return { ...norm, gains, tiny: gains.map((g, o) => Number(g !== gamma[o])), beta: weights[`${role}.bias`]?.data }
}

/** What W̃ is larger by than W in each row [d]; undefined where it is W. */
export const outputGains = (w: HalfWeights): Floats | undefined =>
  outputNorm(w)?.gains ??
  (w.half.updateScale ? new Float32Array(hiddenSize(w.half)).fill(w.half.updateScale) : undefined)

/** The same as it counts in the stream. */
export async function weighted(engine: Engine, w: HalfWeights, seen: Observed): Promise<Observed> {
  const norm = outputNorm(w)
  if (!norm) {
    const [m, b] = [w.half.updateScale ?? 1, w.output.bias]
    return m !== 1 && b ? { ...seen, x: hostOf(seen.x).map((v, i) => v + (m - 1) * b[i % b.length]) } : seen
  }
  const { gains, tiny, beta, type, size: d, epsilon } = norm
  const { tokens } = seen
  const [hidden, x, y] = [hostOf(seen.h), hostOf(seen.x), seen.y && hostOf(seen.y)]
  const { weight, bias = new Float32Array(d) } = w.output
  const around = w.half.norms.after ? 1 : 0 // x goes around the norm, or through it
  const products = transposed(await engine.linalg.multiply(weight, hidden, tokens), tokens) // H Wᵀ [tokens, d]
  const [h, rest] = [hidden, x].map(({ length }) => new Float32Array(length))
  const scale = new Float32Array(tokens)
  for (let t = 0, from = 0; t < tokens; t++, from += d) {
    const u = products.slice(from, from + d)
    for (let o = 0; o < d; o++) u[o] += bias[o] + (1 - around) * x[from + o]
    const mean = type === 'layer' ? u.reduce((sum, v) => sum + v, 0) / d : 0
    scale[t] = 1 / Math.sqrt(u.reduce((sum, v) => sum + (v - mean) ** 2, 0) / d + epsilon)
    for (let o = 0, at = from; o < d; o++, at++) {
      const factor = gains[o] * scale[t]
      const whole = y && tiny[o] ? y[at] : around * x[at] + factor * (u[o] - mean) + (beta?.[o] ?? 0)
      rest[at] = whole - factor * products[at] - bias[o]
    }
  }
  for (let i = 0; i < h.length; ) for (let t = 0; t < tokens; t++, i++) h[i] = hidden[i] * scale[t]
  return { ...seen, h, x: rest, scale }
}
