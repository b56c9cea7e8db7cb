// What is observed of a half-block before its output layer. Where a norm follows that layer, an error counts as the
// norm passes it on. With γ and β of the norm, u = H Wᵀ + b, and r = 1 / std of u or x + u, which stays as it is while
// nothing is cut (ours):
//   y = x + γ r u  or  γ r (x + u − mean) + β  =  rest + H̃ W̃ᵀ + b,   H̃ = r H,  W̃ = diag(γ) W
// or, where the update is multiplied by m:  y = x + m u,  H̃ = H,  W̃ = m W.
// The rest, H̃ and W̃ take the places of x, H and W (docs/method.md).
import { asValues, type Rows, type Values } from '../engine/engine.ts'
import { behindNorm, type OutputNorm } from '../engine/linalg/outputs.ts'
import { drop, withRow } from '../engine/linalg/rows.ts'
import type { Floats } from '../formats/tensors.ts'
import { hiddenSize } from '../model/half-block.ts'
import type { HalfBlockRunner } from './runner.ts'
import type { HalfWeights } from './weights.ts'

/** A batch in a half-block before its output layer, and the wanted output. */
export interface Observed {
  /** `Hᵀ` [width, tokens] */
  readonly h: Rows
  readonly tokens: number
  /** The stream before the half-block, or the rest [tokens, d]. */
  readonly x: Rows
  /** The dense stream after the half-block [tokens, d], where there is one. */
  readonly y?: Rows
  /** r [tokens, 1] and Σ r², where a norm follows. */
  readonly scale?: Values<Floats>
  readonly squares?: number
}

/** Frees the memory on a device of all rows but `given`. */
export function dropOwn({ h, x, scale }: Observed, ...given: readonly Rows[]): void {
  for (const rows of [h, x, scale]) if (rows && !given.includes(rows)) drop(asValues(rows, 1))
}

/** Adds up statistics of all batches. */
export interface Accumulator {
  add(observed: Observed): Promise<void>
}

/** The least γ, as a part of the largest: an output with less counts as much, and makes up for nothing. */
const LEAST_GAIN = 1e-3

/** The norm after the output layer, if there is one. */
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

/** The factor of each row of W̃ over W [d]; undefined where W̃ is W. */
export const outputGains = (w: HalfWeights): Floats | undefined =>
  outputNorm(w)?.gains ??
  (w.half.updateScale ? new Float32Array(hiddenSize(w.half)).fill(w.half.updateScale) : undefined)

/** H̃ and the rest in the place of H and x. */
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
