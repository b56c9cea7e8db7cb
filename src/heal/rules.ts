// A rule for each operator in graphs of half-blocks and heads (src/graphs): the vector-Jacobian products of its inputs,
// made of forward operators. With y = f(x) and dy = ∂L/∂y:
//   Gemm      dA = α dy Bᵀ, dB = α Aᵀ dy, dC = Σ_rows dy
//   Softmax   dx = y ∘ (dy − Σ dy ∘ y)
//   norms     x̂ = (x − μ) r, r = 1/√(mean (x − μ)² + ε), μ = 0 for RMS: dx = r (g − mean g − x̂ mean(g ∘ x̂)) with
//             g = γ ∘ dy, without mean g for RMS; dγ = Σ_rows dy ∘ x̂, dβ = Σ_rows dy
// Masks, positions and indices have none.
import type { Graph, GraphNode, Value } from '../formats/onnx.ts'
import { axisOf, isNumber, type Shape, sliceOf } from './shapes.ts'

/** A node on the way back. */
export interface Step extends Pick<GraphNode, 'type' | 'inputs' | 'outputs' | 'attributes'> {
  readonly g: Graph
  /** Gradients of its outputs, of which one at least is there. */
  readonly dys: readonly (Value | undefined)[]
  /** @throws Error where it is not known */
  shape(value: Value): Shape
  /** Integers of an input that is a constant. @throws Error where it is none */
  ints(input: number): readonly number[]
}

/** Gradients of the inputs, each made only where it is asked for. */
type Rule = (step: Step, dy: Value) => (() => Value)[]

/** Of the normal distribution: √(2/π) and 1/√2π, and the constant of GELU's approximation (Hendrycks & Gimpel 2016). */
const [TANH_SCALE, DENSITY, CUBIC] = [Math.sqrt(2 / Math.PI), 1 / Math.sqrt(2 * Math.PI), 0.044715]

const elementwise =
  (derivative: (step: Step) => Value): Rule =>
  (step, dy) => [() => mul(step.g, dy, derivative(step))]

const norm: Rule = (step, dy) => {
  const { g, inputs, attributes, type } = step
  const [x, gamma] = inputs
  const isLayer = type === 'LayerNormalization'
  const centred = isLayer ? g.op('Sub', [x, mean(g, x)]) : x
  const variance = add(g, mean(g, mul(g, centred, centred)), float(g, attributes.epsilon as number))
  const r = g.op('Reciprocal', [g.op('Sqrt', [variance])])
  const normed = mul(g, centred, r)
  const rows = (of: Value) => sumTo(g, of, step.shape(x), step.shape(gamma))
  return [
    () => {
      const scaled = mul(g, dy, gamma)
      const along = g.op('Sub', [scaled, mul(g, normed, mean(g, mul(g, scaled, normed)))])
      return mul(g, r, isLayer ? g.op('Sub', [along, mean(g, scaled)]) : along)
    },
    () => rows(mul(g, dy, normed)),
    () => rows(dy),
  ]
}

/** An operator that is not here has none. */
export const RULES: Readonly<Record<string, Rule>> = {
  Add: (step, dy) => [() => toInput(step, 0, dy), () => toInput(step, 1, dy)],
  Sub: (step, dy) => [() => toInput(step, 0, dy), () => toInput(step, 1, step.g.op('Neg', [dy]))],
  Mul: (step, dy) => [0, 1].map(i => () => toInput(step, i, mul(step.g, dy, step.inputs[1 - i]))),
  Div: (step, dy) => [
    () => toInput(step, 0, step.g.op('Div', [dy, step.inputs[1]])),
    () => toInput(step, 1, step.g.op('Neg', [step.g.op('Div', [mul(step.g, dy, step.outputs[0]), step.inputs[1]])])),
  ],
  Neg: ({ g }, dy) => [() => g.op('Neg', [dy])],
  Exp: elementwise(({ outputs }) => outputs[0]),
  Tanh: elementwise(({ g, outputs: [y] }) => oneMinus(g, mul(g, y, y))),
  Relu: ({ g, outputs: [y] }, dy) => [() => g.op('Where', [g.op('Greater', [y, float(g, 0)]), dy, float(g, 0)])],
  // y = x s, s = σ(αx): y' = s + α y (1 − s)
  'com.microsoft.QuickGelu': elementwise(({ g, inputs: [x], outputs: [y], attributes }) => {
    const alpha = float(g, attributes.alpha as number)
    const s = g.op('Sigmoid', [mul(g, x, alpha)])
    return add(g, s, mul(g, mul(g, y, alpha), oneMinus(g, s)))
  }),
  Gelu: elementwise(({ g, inputs: [x], attributes }) =>
    attributes.approximate === 'tanh' ? tanhGeluSlope(g, x) : geluSlope(g, x),
  ),
  Softmax: ({ g, outputs: [y], attributes }, dy) => [
    () => mul(g, y, g.op('Sub', [dy, sum(g, mul(g, dy, y), [attributes.axis as number])])),
  ],
  LogSoftmax: ({ g, outputs: [y], attributes }, dy) => [
    () => g.op('Sub', [dy, mul(g, g.op('Exp', [y]), sum(g, dy, [attributes.axis as number]))]),
  ],
  ReduceSum: ({ g, inputs: [x] }, dy) => [() => g.op('Expand', [dy, g.op('Shape', [x])])],
  Gemm(step, dy) {
    const { g, inputs, outputs, attributes } = step
    const [a, b] = inputs
    const { transA = 0, transB = 0, alpha = 1 } = attributes as Record<string, number>
    const product = (left: Value, right: Value, transA: number, transB: number) =>
      g.op('Gemm', [left, right], { transA, transB, alpha: { float: alpha } })
    return [
      () => (transA ? product(b, dy, transB, 1) : product(dy, b, 0, 1 - transB)),
      () => (transB ? product(dy, a, 1, transA) : product(a, dy, 1 - transA, 0)),
      () => sumTo(g, dy, step.shape(outputs[0]), step.shape(inputs[2])),
    ]
  },
  MatMul(step, dy) {
    const { g, inputs, outputs } = step
    const shapes = inputs.map(step.shape)
    const batch = step.shape(outputs[0]).slice(0, -2)
    const turned = (i: number) => {
      const rank = shapes[i].length
      const perm = Array.from({ length: rank }, (_, axis) => (axis < rank - 2 ? axis : 2 * rank - 3 - axis))
      return g.op('Transpose', [inputs[i]], { perm })
    }
    const toShape = (i: number, d: Value) => sumTo(g, d, [...batch, ...shapes[i].slice(-2)], shapes[i])
    return [() => toShape(0, g.op('MatMul', [dy, turned(1)])), () => toShape(1, g.op('MatMul', [turned(0), dy]))]
  },
  Transpose: ({ g, attributes }, dy) => {
    const perm = attributes.perm as readonly number[]
    return [() => g.op('Transpose', [dy], { perm: perm.map((_, axis) => perm.indexOf(axis)) })]
  },
  Reshape: ({ g, inputs: [x] }, dy) => [() => g.op('Reshape', [dy, g.op('Shape', [x])])],
  Slice: (step, dy) => [
    () => {
      const { g, inputs } = step
      const { axis, from, to } = sliceOf(step.shape(inputs[0]), step.ints)
      const rest = sizeOf(step, inputs[0], axis) - to
      return g.op('Pad', [dy, g.constant('int64', [from, rest]), '', g.constant('int64', [axis])])
    },
  ],
  Concat(step, dy) {
    const { g, inputs, attributes } = step
    const axis = axisOf(attributes.axis as number, step.shape(inputs[0]))
    let parts: Value[] | undefined // one node gives them all
    const split = () => {
      const sizes = inputs.map(input => sizeOf(step, input, axis))
      parts ??= g.ops('Split', [dy, g.constant('int64', sizes)], inputs.length, { axis })
      return parts
    }
    return inputs.map((_, i) => () => split()[i])
  },
  Split: ({ g, outputs, attributes, dys }) => [
    () => {
      const parts = outputs.map((y, i) => dys[i] ?? zerosLike(g, y))
      return g.op('Concat', parts, { axis: attributes.axis as number })
    },
  ],
  Gather: step => [
    () => {
      const { g, inputs, attributes, dys } = step
      const order = step.ints(1)
      const axis = axisOf(attributes.axis as number, step.shape(inputs[0]))
      if (new Set(order).size !== sizeOf(step, inputs[0], axis))
        throw noGradient(step, 'it does not take each index once')
      const places = Array.from(order.keys()).sort((i, j) => order[i] - order[j])
      return g.op('Gather', [dys[0]!, g.constant('int64', places)], { axis })
    },
  ],
  GatherElements: ({ g, inputs: [x, indices], attributes }, dy) => [
    () => {
      const zeros = zerosLike(g, x)
      return g.op('ScatterElements', [zeros, indices, dy], { axis: attributes.axis as number, reduction: 'add' })
    },
  ],
  SimplifiedLayerNormalization: norm,
  RMSNormalization: norm,
  LayerNormalization: norm,
}

export const noGradient = ({ type }: Pick<Step, 'type'>, why = 'src/heal/rules.ts has no rule for it'): Error =>
  new Error(`No gradient of the operator ${type} is known: ${why}.`)

const float = (g: Graph, value: number): Value => g.constant('float32', [value])
const zerosLike = (g: Graph, x: Value): Value => g.op('Expand', [float(g, 0), g.op('Shape', [x])])
const mul = (g: Graph, a: Value, b: Value): Value => g.op('Mul', [a, b])
const add = (g: Graph, a: Value, b: Value): Value => g.op('Add', [a, b])
const oneMinus = (g: Graph, x: Value): Value => g.op('Sub', [float(g, 1), x])
const sum = (g: Graph, x: Value, axes: readonly number[]): Value =>
  g.op('ReduceSum', [x, g.constant('int64', axes)], { keepdims: 1 })
/** Of the last axis. */
const mean = (g: Graph, x: Value): Value => g.op('ReduceMean', [x, g.constant('int64', [-1])], { keepdims: 1 })

/** Φ(x) + x φ(x) */
function geluSlope(g: Graph, x: Value): Value {
  const below = mul(g, add(g, g.op('Erf', [mul(g, x, float(g, Math.SQRT1_2))]), float(g, 1)), float(g, 0.5))
  const density = mul(g, g.op('Exp', [mul(g, mul(g, x, x), float(g, -0.5))]), float(g, DENSITY))
  return add(g, below, mul(g, x, density))
}

/** (1 + t)/2 + x (1 − t²) u'/2 with t = tanh u, u = √(2/π) (x + c x³) */
function tanhGeluSlope(g: Graph, x: Value): Value {
  const square = mul(g, x, x)
  const polynomial = (factor: number) =>
    mul(g, add(g, mul(g, square, float(g, factor)), float(g, 1)), float(g, TANH_SCALE))
  const t = g.op('Tanh', [mul(g, x, polynomial(CUBIC))])
  const along = mul(g, mul(g, x, oneMinus(g, mul(g, t, t))), polynomial(3 * CUBIC))
  return mul(g, add(g, add(g, t, float(g, 1)), along), float(g, 0.5))
}

/** A size that has to be known. */
function sizeOf(step: Step, value: Value, axis: number): number {
  const size = step.shape(value)[axis]
  if (!isNumber(size)) throw noGradient(step, `the size of ${value} along axis ${axis} is not`)
  return size
}

/** What is a gradient in the shape of the output, in that of the input. */
const toInput = (step: Step, input: number, d: Value): Value =>
  sumTo(step.g, d, step.shape(step.outputs[0]), step.shape(step.inputs[input]))

/** Sums over the axes along which `to` was broadcast to `from`. */
function sumTo(g: Graph, d: Value, from: Shape, to: Shape): Value {
  const extra = from.length - to.length
  const axes = [...from.keys()].filter(axis => axis < extra || (to[axis - extra] === 1 && from[axis] !== 1))
  if (axes.length === 0) return d
  const summed = sum(g, d, axes)
  return extra === 0 ? summed : g.op('Squeeze', [summed, g.constant('int64', [...Array(extra).keys()])])
}
