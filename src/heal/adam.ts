// Steps of Adam, which is AdamW with a weight decay of 0, and their size in the course of a run.
//   m ← β₁m + (1 − β₁)g,  v ← β₂v + (1 − β₂)g²,  w ← w − η · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
// Source: Kingma & Ba, Adam (arXiv 1412.6980), algorithm 1; Loshchilov & Hutter, SGDR (arXiv 1608.03983), equation 5,
// for the cosine.
import type { Floats } from '../formats/tensors.ts'

const [BETA1, BETA2, EPSILON] = [0.9, 0.999, 1e-8]
/** The part of the steps in which the rate rises, and the part of the rate in the last step. */
const [WARM_UP, LAST] = [0.05, 0.1]
/** The largest norm of all gradients together. */
const MAX_NORM = 1

/** Weights, gradients, and means of gradients and of their squares, all of one length. */
export interface Adam {
  readonly w: Floats
  readonly g: Floats
  readonly m: Floats
  readonly v: Floats
}

export interface AdamStep {
  readonly rate: number
  /** Factor of gradients. */
  readonly scale: number
  /** Corrections of means that began with zeros. */
  readonly ofMean: number
  readonly ofSquare: number
}

/** @param step from 1 on */
export const adamAt = (step: number, rate: number, scale = 1): AdamStep => ({
  rate,
  scale,
  ofMean: 1 - BETA1 ** step,
  ofSquare: 1 - BETA2 ** step,
})

/**
 * A step, in place.
 * @param zerosStay a weight that is 0 stays 0, as in a padded layout
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

/** The factor that makes the norm of gradients 1 at most, as PyTorch's `clip_grad_norm_`. @param squares their sum */
export const clipping = (squares: number): number => Math.min(1, MAX_NORM / (Math.sqrt(squares) + 1e-6))

/** The rate of a step, from 1 on: a line up to `peak`, and half a cosine down to a tenth of it. */
export function rateOf(step: number, steps: number, peak: number): number {
  const warm = Math.ceil(WARM_UP * steps)
  if (step <= warm) return (peak * step) / warm
  const passed = (step - warm) / (steps - warm)
  return peak * (LAST + ((1 - LAST) * (1 + Math.cos(Math.PI * passed))) / 2)
}
