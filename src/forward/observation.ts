// What is seen of a half-block before its output layer. Where a norm follows that layer, an error of it counts as the norm leaves it. With
// r = 1 / std of what is normalised, u = H Wᵀ + b or x + u, held as it is while nothing is cut (ours), and γ and β of the norm:
//   y = x + γ r u  or  γ r (x + u − mean) + β  =  rest + H̃ W̃ᵀ + b,   H̃ = r H,  W̃ = diag(γ) W
// or, where the update is multiplied by m:  y = x + m u,  H̃ = H,  W̃ = m W.
// The rest does not change with W. It takes the place of x, as H̃ and W̃ those of H and W (docs/method.md).

import { asValues, type Rows, type Values } from '../engine/engine.ts'
import { behindNorm, type OutputNorm } from '../engine/linalg/outputs.ts'
import { drop, withRow } from '../engine/linalg/rows.ts'
import type { Floats } from '../formats/tensors.ts'
import { hiddenSize } from '../model/half-block.ts'
import type { HalfBlockRunner } from './runner.ts'
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
  /** r [tokens, 1] and Σ r², where a norm follows. */
  readonly scale?: Values<Floats>
  readonly squares?: number
}

/** Gives the memory back that rows have on a device which are others than those given. */
export function dropOwn({ h, x, scale }: Observed, ...given: readonly Rows[]): void {
  for (const rows of [h, x, scale]) if (rows && !given.includes(rows)) drop(asValues(rows, 1))
}

/** Adds up what it needs to know of all batches. */
export interface Accumulator {
  add(observed: Observed): Promise<void>
}

/** Of the largest γ: what counts less counts as so much, and is not asked to make up for what the stream lacks. */
const LEAST_GAIN = 1e-3

/** The norm after the output layer, x going around it or through. Undefined where there is none. */
function outputNorm({ half, norms }: HalfWeights): OutputNorm | undefined {
  const role = half.norms.after ? 'after' : 'afterSum'
  const [norm, weights] = [half.norms[role], norms[role]]
  if (!norm || !weights) return undefined
  const gamma = weights[`${role}.weight`].data
  const least = gamma.reduce((most, g) => Math.max(most, LEAST_GAIN * Math.abs(g)), 1e-30)
  const gains = gamma.map(g => (Math.abs(g) > least ? g : least))
  const tiny = gains.map((g, o) => Number(g !== gamma[o]))
  const { type, epsilon } = norm
  return { type, epsilon, around: role === 'after', gains, tiny, beta: weights[`${role}.bias`]?.data }
}

/** What W̃ is larger by than W in each row [d]; undefined where it is W. */
export const outputGains = (w: HalfWeights): Floats | undefined =>
  outputNorm(w)?.gains ??
  (w.half.updateScale ? new Float32Array(hiddenSize(w.half)).fill(w.half.updateScale) : undefined)

/** The same as it counts in the stream. */
export async function weighted(runner: HalfBlockRunner, w: HalfWeights, seen: Observed): Promise<Observed> {
  const norm = outputNorm(w)
  if (!norm) {
    const [m, b] = [w.half.updateScale ?? 1, w.output.bias]
    return m !== 1 && b ? { ...seen, x: await withRow(runner.engine, asValues(seen.x, b.length), m - 1, b) } : seen
  }
  const { h, tokens } = seen
  const d = hiddenSize(w.half)
  const batch = { h: asValues(h, tokens), x: asValues(seen.x, d), y: seen.y && asValues(seen.y, d) }
  return { ...seen, ...(await behindNorm(runner.engine, norm, w.output, batch)) }
}
