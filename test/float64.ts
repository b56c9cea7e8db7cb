// Evaluates graphs in float64, node by node, each operator as ONNX defines it: slow, and exact enough for differences. No graph of ours runs so.
import type { Graph, GraphNode, Value } from '../src/formats/onnx.ts'

export interface Array64 {
  readonly shape: readonly number[]
  readonly data: Float64Array
}

type Operator = (inputs: readonly Array64[], attributes: GraphNode['attributes'], outputs: number) => Array64[]

/** All values of a graph, by name. @param feeds of its inputs */
export function evaluate(g: Graph, feeds: Readonly<Record<string, Array64>>): ReadonlyMap<Value, Array64> {
  const found = new Map(Object.entries(feeds))
  for (const { type, inputs, outputs, attributes, constant } of g.nodes) {
    const made = constant
      ? [{ shape: constant.shape, data: Float64Array.from(constant.values) }]
      : OPERATORS[type](
          inputs.map(name => found.get(name)!),
          attributes,
          outputs.length,
        )
    for (const [i, name] of outputs.entries()) found.set(name, made[i])
  }
  return found
}

const elements = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1)
const axisOf = (axis: unknown, { shape }: Array64) => (Number(axis) + shape.length) % shape.length
const ints = ({ data }: Array64) => [...data]

/** @param value by the index of each element */
function made(shape: readonly number[], value: (index: readonly number[]) => number): Array64 {
  const data = new Float64Array(elements(shape))
  const index = shape.map(() => 0)
  for (let i = 0; i < data.length; i++) {
    data[i] = value(index)
    for (let axis = shape.length - 1; axis >= 0 && ++index[axis] === shape[axis]; axis--) index[axis] = 0
  }
  return { shape, data }
}

/** The element that is broadcast there. */
function at({ shape, data }: Array64, index: readonly number[]): number {
  const extra = index.length - shape.length
  let place = 0
  for (let axis = 0; axis < shape.length; axis++)
    place = place * shape[axis] + (shape[axis] === 1 ? 0 : index[axis + extra])
  return data[place]
}

const broadcast = (shapes: readonly (readonly number[])[]): number[] => {
  const rank = Math.max(...shapes.map(({ length }) => length))
  return Array.from({ length: rank }, (_, axis) =>
    Math.max(...shapes.map(shape => shape[axis - rank + shape.length] ?? 1)),
  )
}

const elementwise =
  (f: (...values: number[]) => number): Operator =>
  inputs => [made(broadcast(inputs.map(({ shape }) => shape)), index => f(...inputs.map(x => at(x, index))))]

const unary =
  (f: (x: number, attributes: GraphNode['attributes']) => number): Operator =>
  ([x], attributes) => [{ shape: x.shape, data: x.data.map(v => f(v, attributes)) }]

/** Of each row along the last axis. */
const rows =
  (f: (row: Float64Array, others: readonly Array64[], attributes: GraphNode['attributes']) => Float64Array): Operator =>
  ([x, ...others], attributes) => {
    const data = x.data.slice()
    const width = x.shape.at(-1)!
    for (let from = 0; from < data.length; from += width)
      data.set(f(data.subarray(from, from + width), others, attributes), from)
    return [{ shape: x.shape, data }]
  }

const sum = (of: Float64Array) => of.reduce((all, one) => all + one, 0)
const logSoftmax = (row: Float64Array) => {
  const most = Math.max(...row)
  const all = most + Math.log(sum(row.map(v => Math.exp(v - most))))
  return row.map(v => v - all)
}

const norm = (centred: boolean) =>
  rows((row, [weight, bias], { epsilon }) => {
    const mean = centred ? sum(row) / row.length : 0
    const scale = 1 / Math.sqrt(sum(row.map(v => (v - mean) ** 2)) / row.length + Number(epsilon))
    return row.map((v, i) => (v - mean) * scale * weight.data[i] + (bias?.data[i] ?? 0))
  })

const reduced =
  (mean: boolean): Operator =>
  ([x, axes]) => {
    const over = ints(axes).map(axis => axisOf(axis, x))
    const shape = x.shape.map((size, axis) => (over.includes(axis) ? 1 : size))
    const found = made(shape, () => 0)
    made(x.shape, index => {
      const place = shape.reduce((all, size, axis) => all * size + (size === 1 ? 0 : index[axis]), 0)
      return (found.data[place] += at(x, index))
    })
    const count = mean ? x.data.length / found.data.length : 1
    return [{ shape, data: found.data.map(v => v / count) }]
  }

const turned = (x: Array64, perm: readonly number[]): Array64 =>
  made(
    perm.map(axis => x.shape[axis]),
    index =>
      at(
        x,
        x.shape.map((_, axis) => index[perm.indexOf(axis)]),
      ),
  )

function product(a: Array64, b: Array64): Array64 {
  const [rows, inner, columns] = [a.shape.at(-2)!, a.shape.at(-1)!, b.shape.at(-1)!]
  const batch = broadcast([a.shape.slice(0, -2), b.shape.slice(0, -2)])
  const shape = [...batch, rows, columns]
  const data = new Float64Array(elements(shape))
  const firsts = [a, b].map(x => firstsOf(x, batch))
  for (let i = 0; i < data.length; i++) {
    const [one, row] = [Math.floor(i / (rows * columns)), Math.floor(i / columns) % rows]
    const [left, right] = firsts.map(of => of[one])
    for (let k = 0; k < inner; k++)
      data[i] += a.data[left + row * inner + k] * b.data[right + k * columns + (i % columns)]
  }
  return { shape, data }
}

/** Where the matrix begins that is broadcast to each of a batch. */
function firstsOf({ shape }: Array64, batch: readonly number[]): Float64Array {
  const outer = shape.slice(0, -2)
  const size = elements(shape.slice(-2))
  const numbers = { shape: outer, data: Float64Array.from({ length: elements(outer) }, (_, i) => i * size) }
  return made(batch, index => at(numbers, index)).data
}

/** ∫ 2/√π e^(−t²) from 0 to x: 2/√π e^(−x²) Σ 2ⁿ x²ⁿ⁺¹ / (2n + 1)!! */
function erf(x: number): number {
  let [term, total] = [x, x]
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(total); n++) total += term *= (2 * x * x) / (2 * n + 1)
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * total
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x))

const reshaped: Operator = ([x, to]) => {
  const rest = x.data.length / elements(ints(to).filter(size => size > 0))
  return [{ shape: ints(to).map(size => (size < 0 ? rest : size)), data: x.data }]
}

/** A part along one axis. */
const part = (x: Array64, axis: number, from: number, to: number): Array64 =>
  made(x.shape.with(axis, to - from), index => at(x, index.with(axis, index[axis] + from)))

const OPERATORS: Readonly<Record<string, Operator>> = {
  Add: elementwise((a, b) => a + b),
  Sub: elementwise((a, b) => a - b),
  Mul: elementwise((a, b) => a * b),
  Div: elementwise((a, b) => a / b),
  Max: elementwise(Math.max),
  Greater: elementwise((a, b) => Number(a > b)),
  Where: elementwise((is, a, b) => (is ? a : b)),
  Neg: unary(x => -x),
  Exp: unary(Math.exp),
  Log: unary(Math.log),
  Tanh: unary(Math.tanh),
  Sqrt: unary(Math.sqrt),
  Reciprocal: unary(x => 1 / x),
  Sigmoid: unary(sigmoid),
  Erf: unary(erf),
  Relu: unary(x => Math.max(0, x)),
  Identity: unary(x => x),
  'com.microsoft.QuickGelu': unary((x, { alpha }) => x * sigmoid(Number(alpha) * x)),
  Gelu: unary((x, { approximate }) =>
    approximate === 'tanh'
      ? (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))
      : (x / 2) * (1 + erf(x / Math.SQRT2)),
  ),
  Softmax: rows(row => logSoftmax(row).map(Math.exp)),
  LogSoftmax: rows(logSoftmax),
  SimplifiedLayerNormalization: norm(false),
  LayerNormalization: norm(true),
  ReduceSum: reduced(false),
  ReduceMean: reduced(true),
  Gemm([a, b, c], { transA, transB, alpha = 1 }) {
    const [left, right] = [transA ? turned(a, [1, 0]) : a, transB ? turned(b, [1, 0]) : b]
    const { shape, data } = product(left, right)
    const scaled = { shape, data: data.map(v => Number(alpha) * v) }
    return c ? OPERATORS.Add([scaled, c], {}, 1) : [scaled]
  },
  MatMul: ([a, b]) => [product(a, b)],
  Transpose: ([x], { perm }) => [turned(x, perm as readonly number[])],
  Reshape: reshaped,
  Squeeze: ([x, axes]) => [{ shape: x.shape.filter((_, axis) => !ints(axes).includes(axis)), data: x.data }],
  Shape: ([{ shape }]) => [{ shape: [shape.length], data: Float64Array.from(shape) }],
  ConstantOfShape: ([shape]) => [made(ints(shape), () => 0)],
  Expand: ([x, shape]) => [made(broadcast([x.shape, ints(shape)]), index => at(x, index))],
  Slice([x, from, to, axis]) {
    const along = ints(axis)[0]
    return [part(x, along, ints(from)[0], Math.min(x.shape[along], ints(to)[0]))]
  },
  Split([x, sizes], { axis }, outputs) {
    const along = axisOf(axis, x)
    const each = sizes ? ints(sizes) : new Array<number>(outputs).fill(x.shape[along] / outputs)
    let end = 0
    return each.map(size => part(x, along, end, (end += size)))
  },
  Concat(inputs, { axis }) {
    const along = axisOf(axis, inputs[0])
    const starts = inputs.map((_, i) => inputs.slice(0, i).reduce((all, { shape }) => all + shape[along], 0))
    const size = inputs.reduce((all, { shape }) => all + shape[along], 0)
    return [
      made(inputs[0].shape.with(along, size), index => {
        const i = starts.findLastIndex(start => start <= index[along])
        return at(inputs[i], index.with(along, index[along] - starts[i]))
      }),
    ]
  },
  Pad([x, pads, , axes]) {
    const [[before, after], [along]] = [ints(pads), ints(axes)]
    return [
      made(x.shape.with(along, before + x.shape[along] + after), index => {
        const i = index[along] - before
        return i >= 0 && i < x.shape[along] ? at(x, index.with(along, i)) : 0
      }),
    ]
  },
  Gather([x, indices], { axis }) {
    const along = axisOf(axis, x)
    return [
      made(x.shape.with(along, indices.data.length), index => at(x, index.with(along, indices.data[index[along]]))),
    ]
  },
  GatherElements: ([x, indices], { axis }) => [
    made(indices.shape, index => at(x, index.with(axisOf(axis, x), at(indices, index)))),
  ],
  ScatterElements([x, indices, updates], { axis, reduction }) {
    const data = x.data.slice()
    made(indices.shape, index => {
      const to = index.with(axisOf(axis, x), at(indices, index))
      const place = x.shape.reduce((all, size, i) => all * size + to[i], 0)
      return (data[place] = at(updates, index) + (reduction === 'add' ? data[place] : 0))
    })
    return [{ shape: x.shape, data }]
  },
  Trilu: ([x, k], { upper = 1 }) => [
    made(x.shape, index => {
      const along = index.at(-1)! - index.at(-2)! - (k?.data[0] ?? 0)
      return (upper ? along >= 0 : along <= 0) ? at(x, index) : 0
    }),
  ],
}
