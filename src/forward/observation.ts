// What is seen of a half-block before its output layer. Where a norm follows that layer, an error of it counts as the norm leaves it. With
// r = 1 / std of what is normalised, u = H Wᵀ + b or x + u, held as it is while nothing is cut (ours), and γ and β of the norm:
//   y = x + γ r u  or  γ r (x + u − mean) + β  =  rest + H̃ W̃ᵀ + b,   H̃ = r H,  W̃ = diag(γ) W
// or, where the update is multiplied by m:  y = x + m u,  H̃ = H,  W̃ = m W.
// The rest does not change with W. It takes the place of x, as H̃ and W̃ those of H and W (docs/method.md).

import { asValues, hostOf, type Rows, type Values, values } from '../engine/engine.ts'
import { drop, withRow } from '../engine/linalg/rows.ts'
import { transposed } from '../engine/linalg/scatter.ts'
import { Graph, type Value } from '../formats/onnx.ts'
import type { Floats } from '../formats/tensors.ts'
import { linear } from '../graphs/layers.ts'
import { hiddenSize, type Norm } from '../model/half-block.ts'
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
function outputNorm({ half, norms }: HalfWeights) {
  const role = half.norms.after ? 'after' : 'afterSum'
  const [norm, weights] = [half.norms[role], norms[role]]
  if (!norm || !weights) return undefined
  const gamma = weights[`${role}.weight`].data
  const least = gamma.reduce((most, g) => Math.max(most, LEAST_GAIN * Math.abs(g)), 1e-30)
  const gains = gamma.map(g => (Math.abs(g) > least ? g : least))
  const tiny = gains.map((g, o) => Number(g !== gamma[o]))
  return { ...norm, around: role === 'after', gains, tiny, beta: weights[`${role}.bias`]?.data }
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
  const { around, gains, tiny, beta, type, size: d, epsilon } = norm
  const { tokens } = seen
  const { weight, bias = new Float32Array(d) } = w.output
  const there = asValues(seen.h, tokens)
  if (there.drop) {
    const { engine } = runner
    const [h, rest, scale] = [there.shape, [tokens, d], [tokens, 1]].map(shape => engine.array(shape))
    const squares = new Float32Array(1)
    const [x, y] = [seen.x, seen.y ?? seen.x].map(rows => asValues(rows, d))
    const row = (data = new Float32Array(d)) => values(data, [d])
    const feeds = {
      ...{ gains: row(gains), tiny: row(tiny), beta: row(beta), 'out.bias': row() },
      ...{ ...runner.layer('out', w.output, there.shape[0]), h: there, x, y },
    }
    const outputs = { weighted: h, rest, scale, squares: values(squares, []) }
    await engine.run(`weighted ${around} ${type} ${d} ${epsilon}`, () => weightedGraph(norm), feeds, outputs)
    return { ...seen, h, x: rest, scale, squares: squares[0] }
  }
  const [hidden, x, y] = [there.data, await hostOf(seen.x), seen.y && (await hostOf(seen.y))]
  const products = transposed(await runner.engine.linalg.multiply(weight, hidden, tokens), tokens) // H Wᵀ [tokens, d]
  const [h, rest, scale] = [hidden.length, x.length, tokens].map(length => new Float32Array(length))
  for (let t = 0, from = 0; t < tokens; t++, from += d) {
    const u = products.subarray(from, from + d).map((p, o) => p + (bias[o] + (around ? 0 : x[from + o])))
    const mean = type === 'layer' ? u.reduce((sum, v) => sum + v, 0) / d : 0
    scale[t] = 1 / Math.sqrt(u.reduce((sum, v) => sum + (v - mean) ** 2, 0) / d + epsilon)
    for (let o = 0, at = from; o < d; o++, at++) {
      const factor = gains[o] * scale[t]
      const whole = y && tiny[o] ? y[at] : (around ? x[at] : 0) + factor * (u[o] - mean) + (beta?.[o] ?? 0)
      rest[at] = whole - factor * products[at] - bias[o]
    }
  }
  for (let i = 0; i < h.length; ) for (let t = 0; t < tokens; t++, i++) h[i] = hidden[i] * scale[t]
  const squares = scale.reduce((sum, r) => sum + r * r, 0)
  return { ...seen, h, x: rest, scale: values(scale, [tokens, 1]), squares }
}

/**
 * The same where rows stay on a device:  rest = x + γ r (b − mean) + β − b  or  γ r (b + x − mean) + β − b, and y − γ r H Wᵀ − b for a tiny γ.
 */
function weightedGraph({ around, type, size: d, epsilon }: Norm & { readonly around: boolean }): Graph {
  const g = new Graph('weighted')
  const [gains, tiny, beta, bias] = ['gains', 'tiny', 'beta', 'out.bias'].map(name => g.input(name, 'float32', [d]))
  const [x, y] = ['x', 'y'].map(name => g.input(name, 'float32', ['n', d]))
  const h = g.input('h', 'float32', ['m', 'n'])
  const [add, subtract, times] = ['Add', 'Sub', 'Mul'].map(op => (a: Value, b: Value) => g.op(op, [a, b]))
  const mean = (rows: Value) => g.op('ReduceMean', [rows, g.constant('int64', [1])])
  const product = linear(g, g.op('Transpose', [h]), 'out', [d, 'm'], false)
  const beside = around ? bias : add(bias, x)
  const u = add(product, beside)
  const middle = type === 'layer' ? mean(u) : g.constant('float32', [0])
  const centred = subtract(u, middle)
  const variance = add(mean(times(centred, centred)), g.constant('float32', [epsilon]))
  const scale = g.op('Reciprocal', [g.op('Sqrt', [variance])]) // [n, 1]
  const factor = times(scale, gains)
  const through = add(times(factor, subtract(beside, middle)), beta)
  const lacking = subtract(y, times(factor, product))
  const rest = g.op('Where', [g.cast(tiny, 'bool'), lacking, around ? add(x, through) : through])
  g.output('rest', subtract(rest, bias), 'float32', ['n', d])
  g.output('weighted', times(h, g.op('Transpose', [scale])), 'float32', ['m', 'n'])
  g.output('squares', g.op('ReduceSumSquare', [scale], { keepdims: 0 }), 'float32', [])
  g.output('scale', scale, 'float32', ['n', 1])
  return g
}
