// Low-rank updates of linear layers, which are trained in the place of their weights: W = W₀ + s B A with A [r, in] and B [out, r]; biases stay.
// Of the gradient by W come those by both:
//   dA = s Bᵀ dW,  dB = s dW Aᵀ
// A weight that is 0 stays 0, and its part of dW is nothing: so is what a padded layout has in the places of what was removed.
// Source: Hu et al. 2021 (arXiv 2106.09685), section 4.1; first values as PEFT has them: B zeros, A uniform in ±1/√in.
import { type Engine, type Values, values } from '../engine/engine.ts'
import type { Linalg } from '../engine/linalg/linalg.ts'
import { matrix } from '../engine/linalg/matrix.ts'
import { Graph } from '../formats/onnx.ts'
import type { Floats } from '../formats/tensors.ts'
import type { Linear } from '../model/half-block.ts'

/** s = α / r: α is twice the rank. */
export const SCALE = 2

/** Of one linear layer. */
export interface Update {
  readonly a: Floats // [r, in]
  readonly b: Floats // [out, r]
}

/** Numbers of the updates of these layers. */
export const updateSize = (layers: readonly Linear[], rank: number): number =>
  layers.reduce((sum, { in: columns, out }) => sum + rank * (columns + out), 0)

/** The updates of layers that lie one after another in `all`: views. */
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

/** Gradients of an update, put to `to`. @param weight W as it is @param sum the gradient by it, used up; on a device it stays there */
export async function updateGradients(
  { linalg: { gemm }, run, tensor }: Engine,
  weight: Floats,
  sum: Values<Floats>,
  { a, b }: Update,
  to: Update,
  rank: number,
): Promise<void> {
  const [columns, out] = [a.length / rank, b.length / rank]
  if (sum.drop) {
    const [ofA, ofB] = [
      [rank, columns],
      [out, rank],
    ]
    const feeds = { w: tensor(weight, [out, columns]), d: sum, a: values(a, ofA), b: values(b, ofB) }
    await run(`low rank ${rank}`, () => gradientsGraph(rank), feeds, { da: values(to.a, ofA), db: values(to.b, ofB) })
    return sum.drop()
  }
  const d = sum.data
  for (let i = 0; i < d.length; i++) d[i] = weight[i] === 0 ? 0 : SCALE * d[i]
  const dW = matrix(out, columns, d)
  await gemm(matrix(out, rank, b), dW, matrix(rank, columns, to.a), { transA: true })
  await gemm(dW, matrix(rank, columns, a), matrix(out, rank, to.b), { transB: true })
}

/** The same of W `w` and dW `d` [out, in]. */
function gradientsGraph(rank: number): Graph {
  const g = new Graph('low rank')
  const [w, d] = ['w', 'd'].map(name => g.input(name, 'float32', ['o', 'i']))
  const [a, b] = [g.input('a', 'float32', [rank, 'i']), g.input('b', 'float32', ['o', rank])]
  const scaled = g.op('Mul', [d, g.constant('float32', [SCALE])])
  const dW = g.op('Where', [g.cast(w, 'bool'), scaled, g.constant('float32', [0])])
  g.output('da', g.op('Gemm', [b, dW], { transA: 1 }), 'float32', [rank, 'i'])
  g.output('db', g.op('Gemm', [dW, a], { transB: 1 }), 'float32', ['o', rank])
  return g
}
