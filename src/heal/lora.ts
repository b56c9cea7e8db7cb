// Low-rank updates of linear layers, trained in the place of weights: W = W₀ + s B A with A [r, in] and B [out, r];
// biases stay. Gradients:
//   dA = s Bᵀ dW,  dB = s dW Aᵀ
// A weight that is 0 stays 0, and its part of dW counts as 0, as in a padded layout.
// Source: Hu et al. 2021 (arXiv 2106.09685), section 4.1; first values as PEFT has them: B zeros, A uniform in ±1/√in.
import { type Engine, type Values, values } from '../engine/engine.ts'
import type { Linalg } from '../engine/linalg/linalg.ts'
import { runFormula } from '../engine/linalg/rows.ts'
import type { Floats } from '../formats/tensors.ts'
import type { Linear } from '../model/half-block.ts'

/** s = α / r: α is twice the rank. */
export const SCALE = 2

/** The update of one linear layer. */
export interface Update {
  readonly a: Floats // [r, in]
  readonly b: Floats // [out, r]
}

export const updateSize = (layers: readonly Linear[], rank: number): number =>
  layers.reduce((sum, { in: columns, out }) => sum + rank * (columns + out), 0)

/** Views on the updates that lie one after another in `all`. */
export function updatesOf(layers: readonly Linear[], rank: number, all: Floats): Update[] {
  let end = 0
  const take = (length: number): Floats => {
    end += length
    return all.subarray(end - length, end)
  }
  return layers.map(({ in: columns, out }) => ({ a: take(rank * columns), b: take(out * rank) }))
}

/** First values: W is W₀. @param random uniform in [0, 1) */
export function beginUpdates(layers: readonly Linear[], rank: number, all: Floats, random: () => number): void {
  for (const [i, { a, b }] of updatesOf(layers, rank, all).entries()) {
    const most = 1 / Math.sqrt(layers[i].in)
    for (let at = 0; at < a.length; at++) a[at] = most * (2 * random() - 1)
    b.fill(0)
  }
}

/** W [out, in] of W₀. */
export async function updated(linalg: Linalg, weight: Floats, { a, b }: Update, rank: number): Promise<Floats> {
  const product = await linalg.multiply(b, a, a.length / rank)
  for (let i = 0; i < product.length; i++) product[i] = weight[i] === 0 ? 0 : weight[i] + SCALE * product[i]
  return product
}

/** Writes the gradients of an update to `to`. @param weight W @param dW the gradient by W, used up */
export async function updateGradients(
  { run, tensor }: Pick<Engine, 'run' | 'tensor'>,
  weight: Floats,
  dW: Values<Floats>,
  { a, b }: Update,
  to: Update,
  rank: number,
): Promise<void> {
  const ofA = [rank, a.length / rank]
  const ofB = [b.length / rank, rank]
  const feeds = { w: tensor(weight, dW.shape), dW, a: values(a, ofA), b: values(b, ofB) }
  const results = { da: values(to.a, ofA), db: values(to.b, ofB) }
  await runFormula({ run }, `low rank ${rank}`, feeds, results, (g, of) => {
    const dW = g.op('Where', [g.cast(of.w, 'bool'), of.dW, g.constant('float32', [0])])
    const alpha = { float: SCALE }
    return { da: g.op('Gemm', [of.b, dW], { transA: 1, alpha }), db: g.op('Gemm', [dW, of.a], { transB: 1, alpha }) }
  })
  dW.drop?.()
}
