// What an output layer W gives of hidden activations H: by loops in float64 where H is in this machine's memory, by
// graphs in float32 where it is on a device. Callers do not ask where.
import type { Value } from '../../formats/onnx.ts'
import type { Floats } from '../../formats/tensors.ts'
import type { Engine } from '../engine.ts'
import { hostOf, type Values, values } from '../values.ts'
import { runFormula } from './rows.ts'
import { pickRows, transposed } from './scatter.ts'

type On = Pick<Engine, 'run' | 'array' | 'tensor' | 'linalg'>

interface Layer {
  readonly weight: Floats // [d, width]
  readonly bias?: Floats // [d]
}

/** Hᵀ [width, n], the stream before the layer, and the dense stream after it [n, d]. */
interface Batch {
  readonly h: Values<Floats>
  readonly x: Values<Floats>
  readonly y?: Values<Floats>
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

/**
 * What counts behind a norm, with r = 1 / std of what is normalised: r H, and the rest = x + γ r (b − mean) + β − b, or
 * γ r (b + x − mean) + β − b; where γ is tiny, y − γ r H Wᵀ − b.
 * @returns r Hᵀ [width, n], the rest [n, d], r [n, 1] and Σ r²
 */
export async function behindNorm(on: On, norm: OutputNorm, layer: Layer, batch: Batch) {
  const { h, x, y = x } = batch
  if (!h.drop) return behindNormHere(on, norm, layer, batch)
  const { gains, tiny, beta, around, type, epsilon } = norm
  const [d, [width, n]] = [gains.length, h.shape]
  const row = (data = new Float32Array(d)) => values(data, [d])
  const vectors = { gains: row(gains), tiny: row(tiny), beta: row(beta), bias: row(layer.bias) }
  const feeds = { h, x, y, weight: on.tensor(layer.weight, [d, width]), ...vectors }
  const [weighted, rest, scale] = [h.shape, [n, d], [n, 1]].map(shape => on.array(shape))
  const squares = values(new Float32Array(1), [])
  await runFormula(on, `weighted ${around} ${type} ${epsilon}`, feeds, { weighted, rest, scale, squares }, (g, of) => {
    const [add, subtract, times] = ['Add', 'Sub', 'Mul'].map(op => (a: Value, b: Value) => g.op(op, [a, b]))
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
    const squares = g.op('ReduceSumSquare', [scale], { keepdims: 0 })
    return { weighted: times(of.h, g.op('Transpose', [scale])), rest: subtract(rest, of.bias), scale, squares }
  })
  return { h: weighted, x: rest, scale, squares: squares.data[0] }
}

async function behindNormHere({ linalg }: On, norm: OutputNorm, layer: Layer, batch: Batch) {
  const { gains, tiny, beta, around, type, epsilon } = norm
  const { weight, bias = new Float32Array(gains.length) } = layer
  const [d, [, n]] = [gains.length, batch.h.shape]
  const hidden = batch.h.data
  const [x, y] = [await hostOf(batch.x), batch.y && (await hostOf(batch.y))]
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
  return { h: values(h, batch.h.shape), x: values(rest, [n, d]), scale: values(scale, [n, 1]), squares }
}

/** An output layer, and what is left of it. */
export interface PrunedLayer {
  readonly whole: Layer
  /** The layer that is left, on the rows `columns` of Hᵀ, of which there is one at least. */
  readonly kept: Layer & { readonly columns: Int32Array }
  /** How much each output counts in the stream [d]. @default 1 */
  readonly gains?: Floats
  /** How much of what x lacks of y is wanted as well. */
  readonly alpha: number
}

/**
 * Adds the squared error of what is left of a layer, and the squared output of the whole layer, over the rows `at`.
 * With c = r γ:
 *   error = ‖c (H_M W'ᵀ + b') − (c (H Wᵀ + b) + α (y − x − c H Wᵀ − b))‖²,  output = ‖c H Wᵀ‖²
 * @param batch with r [n, 1] where a norm follows
 */
export async function addOutputErrors(
  on: On,
  sums: { error: number; output: number },
  layer: PrunedLayer,
  batch: Required<Batch> & { readonly scale?: Values<Floats> },
  at: readonly number[],
): Promise<void> {
  const { whole, kept, gains, alpha } = layer
  const { h, x, y, scale } = batch
  const [[width, n], d, m] = [h.shape, x.shape[1], kept.columns.length]
  if (!h.drop) {
    const full = await on.linalg.multiply(whole.weight, h.data, n) // W Hᵀ [d, n]
    const left = await on.linalg.multiply(kept.weight, pickRows(h.data, kept.columns, n), n)
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
    return
  }
  const counted = new Float32Array(n)
  for (const t of at) counted[t] = 1
  const row = (data = new Float32Array(d)) => values(data, [d])
  const weights = { weight: on.tensor(whole.weight, [d, width]), keptWeight: on.tensor(kept.weight, [d, m]) }
  const vectors = { bias: row(whole.bias), keptBias: row(kept.bias), gains: row(gains ?? new Float32Array(d).fill(1)) }
  const feeds = {
    ...weights,
    ...vectors,
    h,
    x,
    y,
    kept: values(kept.columns, [m]),
    scale: scale ?? values(new Float32Array(n).fill(1), [n, 1]),
    counted: values(counted, [n, 1]),
    alpha: values(Float32Array.of(alpha), []),
  }
  const [error, output] = [0, 0].map(() => values(new Float32Array(1), []))
  await runFormula(on, 'held out', feeds, { error, output }, (g, of) => {
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
  sums.error += error.data[0]
  sums.output += output.data[0]
}
