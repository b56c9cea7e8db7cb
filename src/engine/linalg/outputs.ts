// What an output layer W gives of hidden activations H, by loops in float64 where H is in this machine's memory, and by graphs in float32
// where it is on a device. Callers do not ask which.
import type { Value } from '../../formats/onnx.ts'
import type { Floats } from '../../formats/tensors.ts'
import type { Engine } from '../engine.ts'
import { hostOf, type Values, values } from '../values.ts'
import { runFormula } from './formula.ts'
import { pickRows, transposed } from './scatter.ts'

type On = Pick<Engine, 'run' | 'array' | 'tensor' | 'linalg'>

interface Layer {
  readonly weight: Floats // [d, width]
  readonly bias?: Floats // [d]
}

/** A norm of u = H Wᵀ + b, which x goes around, or of x + u. */
export interface OutputNorm {
  readonly type: 'layer' | 'rms'
  readonly epsilon: number
  readonly around: boolean
  readonly gains: Floats // γ [d], without zeros
  readonly tiny: Floats // [d], 1 where γ is next to nothing
  readonly beta?: Floats // β [d]
}

/** How H and x count behind a norm. */
export interface BehindNorm {
  readonly h: Values<Floats> // r Hᵀ [width, n]
  readonly x: Values<Floats> // the rest [n, d]
  readonly scale: Values<Floats> // r [n, 1]
  readonly squares: number // Σ r²
}

/**
 * With r = 1 / std of what is normalised, the rest = x + γ r (b − mean) + β − b, or γ r (b + x − mean) + β − b. Where γ is tiny it is
 * y − γ r H Wᵀ − b instead.
 * @param h Hᵀ [width, n] @param x [n, d] @param y [n, d], where there is a dense target
 */
export async function behindNorm(
  on: On,
  norm: OutputNorm,
  layer: Layer,
  h: Values<Floats>,
  x: Values<Floats>,
  y?: Values<Floats>,
): Promise<BehindNorm> {
  if (!h.drop) return behindNormHere(on, norm, layer, h, await hostOf(x), y && (await hostOf(y)))
  const { gains, tiny, beta, around, type, epsilon } = norm
  const [d, n] = [gains.length, h.shape[1]]
  const row = (data = new Float32Array(d)) => values(data, [d])
  const vectors = { gains: row(gains), tiny: row(tiny), beta: row(beta), bias: row(layer.bias) }
  const weight = on.tensor(layer.weight, [d, h.shape[0]])
  const found = { weighted: on.array(h.shape), rest: on.array([n, d]), scale: on.array([n, 1]) }
  const squares = new Float32Array(1)
  const results = { ...found, squares: values(squares, []) }
  const key = `weighted ${around} ${type} ${epsilon}`
  await runFormula(on, key, { h, x, y: y ?? x, weight, ...vectors }, results, (g, of) => {
    const add = (a: Value, b: Value) => g.op('Add', [a, b])
    const subtract = (a: Value, b: Value) => g.op('Sub', [a, b])
    const times = (a: Value, b: Value) => g.op('Mul', [a, b])
    const mean = (rows: Value) => g.op('ReduceMean', [rows, g.constant('int64', [1])])
    const product = g.op('Gemm', [of.h, of.weight], { transA: 1, transB: 1 })
    const beside = around ? of.bias : add(of.bias, of.x)
    const u = add(product, beside)
    const middle = type === 'layer' ? mean(u) : g.constant('float32', [0])
    const centred = subtract(u, middle)
    const variance = add(mean(times(centred, centred)), g.constant('float32', [epsilon]))
    const scale = g.op('Reciprocal', [g.op('Sqrt', [variance])]) // [n, 1]
    const factor = times(scale, of.gains)
    const through = add(times(factor, subtract(beside, middle)), of.beta)
    const lacking = subtract(of.y, times(factor, product))
    const rest = g.op('Where', [g.cast(of.tiny, 'bool'), lacking, around ? add(of.x, through) : through])
    return {
      weighted: times(of.h, g.op('Transpose', [scale])),
      rest: subtract(rest, of.bias),
      scale,
      squares: g.op('ReduceSumSquare', [scale], { keepdims: 0 }),
    }
  })
  return { h: found.weighted, x: found.rest, scale: found.scale, squares: squares[0] }
}

async function behindNormHere(
  { linalg }: On,
  { gains, tiny, beta, around, type, epsilon }: OutputNorm,
  { weight, bias = new Float32Array(gains.length) }: Layer,
  { data: hidden, shape }: Values<Floats>,
  x: Floats,
  y?: Floats,
): Promise<BehindNorm> {
  const [d, n] = [gains.length, shape[1]]
  const products = transposed(await linalg.multiply(weight, hidden, n), n) // H Wᵀ [n, d]
  const [h, rest, scale] = [hidden.length, x.length, n].map(length => new Float32Array(length))
  for (let t = 0, from = 0; t < n; t++, from += d) {
    const u = products.subarray(from, from + d).map((p, o) => p + (bias[o] + (around ? 0 : x[from + o])))
    const mean = type === 'layer' ? u.reduce((sum, v) => sum + v, 0) / d : 0
    scale[t] = 1 / Math.sqrt(u.reduce((sum, v) => sum + (v - mean) ** 2, 0) / d + epsilon)
    for (let o = 0, at = from; o < d; o++, at++) {
      const factor = gains[o] * scale[t]
      const whole = y && tiny[o] ? y[at] : (around ? x[at] : 0) + factor * (u[o] - mean) + (beta?.[o] ?? 0)
      rest[at] = whole - factor * products[at] - bias[o]
    }
  }
  for (let i = 0; i < h.length; ) for (let t = 0; t < n; t++, i++) h[i] = hidden[i] * scale[t]
  const squares = scale.reduce((sum, r) => sum + r * r, 0)
  return { h: values(h, shape), x: values(rest, [n, d]), scale: values(scale, [n, 1]), squares }
}

/** An output layer, and what is left of it. */
export interface PrunedLayer {
  readonly whole: Layer
  /** Of the rows `columns` of Hᵀ, one at least. */
  readonly kept: Layer & { readonly columns: Int32Array }
  /** What the weights of rows count times in the stream [d]. @default 1 */
  readonly gains?: Floats
  /** How much of what x lacks of y is wanted as well. */
  readonly alpha: number
}

/** A batch: Hᵀ [width, n], the stream before the layer and the dense one after it [n, d], and r [n, 1] where a norm follows. */
export interface OutputRows {
  readonly h: Values<Floats>
  readonly x: Values<Floats>
  readonly y: Values<Floats>
  readonly scale?: Values<Floats>
}

/**
 * Adds the squared error of what is left of a layer, and the squared output of the whole layer, summed over the rows `at`. With c = r γ:
 *   error = ‖c (H_M W'ᵀ + b') − (c (H Wᵀ + b) + α (y − x − c H Wᵀ − b))‖²,  output = ‖c H Wᵀ‖²
 */
export async function addOutputErrors(
  on: On,
  sums: { error: number; output: number },
  layer: PrunedLayer,
  rows: OutputRows,
  at: readonly number[],
): Promise<void> {
  const { whole, kept, alpha } = layer
  const { h, x, y, scale } = rows
  if (!h.drop) return addOutputErrorsHere(on, sums, layer, rows, at)
  const [[width, n], d] = [h.shape, x.shape[1]]
  const row = (data = new Float32Array(d)) => values(data, [d])
  const counted = new Float32Array(n)
  for (const t of at) counted[t] = 1
  const m = kept.columns.length
  const feeds = {
    h,
    x,
    y,
    weight: on.tensor(whole.weight, [d, width]),
    keptWeight: on.tensor(kept.weight, [d, m]),
    kept: values(kept.columns, [m]),
    bias: row(whole.bias),
    keptBias: row(kept.bias),
    gains: row(layer.gains ?? new Float32Array(d).fill(1)),
    scale: scale ?? values(new Float32Array(n).fill(1), [n, 1]),
    counted: values(counted, [n, 1]),
    alpha: values(Float32Array.of(alpha), []),
  }
  const [error, output] = [new Float32Array(1), new Float32Array(1)]
  await runFormula(on, 'output errors', feeds, { error: values(error, []), output: values(output, []) }, (g, of) => {
    const [add, subtract, times] = ['Add', 'Sub', 'Mul'].map(op => (a: Value, b: Value) => g.op(op, [a, b]))
    const counts = times(of.scale, of.gains)
    const product = (h: Value, weight: Value) => times(counts, g.op('Gemm', [h, weight], { transA: 1, transB: 1 }))
    const full = product(of.h, of.weight)
    const left = product(g.op('Gather', [of.h, of.kept], { axis: 0 }), of.keptWeight)
    const lacking = subtract(subtract(subtract(of.y, of.x), full), of.bias)
    const wanted = add(add(full, times(counts, of.bias)), times(of.alpha, lacking))
    const wrong = subtract(add(left, times(counts, of.keptBias)), wanted)
    const energy = (rows: Value) => g.op('ReduceSumSquare', [times(rows, of.counted)], { keepdims: 0 })
    return { error: energy(wrong), output: energy(full) }
  })
  sums.error += error[0]
  sums.output += output[0]
}

async function addOutputErrorsHere(
  { linalg }: On,
  sums: { error: number; output: number },
  { whole, kept, gains, alpha }: PrunedLayer,
  { h, x, y, scale }: OutputRows,
  at: readonly number[],
): Promise<void> {
  const [n, d] = x.shape
  const full = await linalg.multiply(whole.weight, h.data, n) // W Hᵀ [d, n]
  const left = await linalg.multiply(kept.weight, pickRows(h.data, kept.columns, n), n)
  const [rest, dense, r] = [await hostOf(x), y.data, scale?.data]
  for (let o = 0; o < d; o++) {
    const [bias, keptBias] = [whole.bias?.[o] ?? 0, kept.bias?.[o] ?? 0]
    for (const t of at) {
      const counts = gains ? gains[o] * (r?.[t] ?? 1) : 1
      const [output, beside] = [counts * full[o * n + t], counts * bias]
      const wanted = output + beside + alpha * (dense[t * d + o] - rest[t * d + o] - output - bias)
      sums.error += (counts * left[o * n + t] + counts * keptBias - wanted) ** 2
      sums.output += output ** 2
    }
  }
}
