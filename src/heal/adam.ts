// Steps of Adam, which with a weight decay of 0 is AdamW, and how large they are in the course of a run.
//   m ← β₁m + (1 − β₁)g,  v ← β₂v + (1 − β₂)g²,  w ← w − η · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
// Source: Kingma & Ba, Adam (arXiv 1412.6980), algorithm 1; Loshchilov & Hutter, SGDR (arXiv 1608.03983), equation 5, for the cosine.
import type { Floats } from '../formats/tensors.ts'

const [BETA1, BETA2, EPSILON] = [0.9, 0.999, 1e-8]
/** Part of the steps in which the rate rises, and what is left of it in the last. */
const [WARM_UP, LAST] = [0.05, 0.1]
/** Norm of all gradients together that is not exceeded. */
const MAX_NORM = 1

/** Weights with their gradients and the means of these and of their squares, all of one length. */
export interface Adam {
  readonly w: Floats
  readonly g: Floats
  readonly m: Floats
  readonly v: Floats
}

/** What all weights have in common in a step. */
export interface AdamStep {
  readonly rate: number
  /** Of the gradients. */
  readonly scale: number
  /** What the means lack, which began with zeros. */
  readonly ofMean: number
  readonly ofSquare: number
}

/** @param step from 1 on */
export const adamAt = (step: number, rate: number, scale = 1): AdamStep => ({
  ...{ rate, scale, ofMean: 1 - BETA1 ** step, ofSquare: 1 - BETA2 ** step },
})

/**
 * A step, in place.
 * @param zerosStay a weight that is 0 stays 0: what a padded layout has in the places of what was removed
 */
export function adamStep({ w, g, m, v }: Adam, { rate, scale, ofMean, ofSquare }: AdamStep, zerosStay = true): void {
  for (let i = 0; i < w.length; i++) {
    if (zerosStay && w[i] === 0) continue
    const gradient = scale * g[i]
    m[i] = BETA1 * m[i] + (1 - BETA1) * gradient
    v[i] = BETA2 * v[i] + (1 - BETA2) * gradient * gradient
    w[i] -= (rate * (m[i] / ofMean)) / (Math.sqrt(v[i] / ofSquare) + EPSILON)
  }
}

/** What gradients are multiplied by so that their norm is at most 1, as `clip_grad_norm_` of PyTorch has it. @param squares the sum of theirs */
export const clipping = (squares: number): number => Math.min(1, MAX_NORM / (Math.sqrt(squares) + 1e-6))

/** The rate of step number `step` of `steps`, from 1 on: a line up to `peak`, and half a cosine down to a tenth of it. */
export function rateOf(step: number, steps: number, peak: number): number {
  const warm = Math.ceil(WARM_UP * steps)
  if (step <= warm) return (peak * step) / warm
  const passed = (step - warm) / (steps - warm)
  return peak * (LAST + ((1 - LAST) * (1 + Math.cos(Math.PI * passed))) / 2)
}
