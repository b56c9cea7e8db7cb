// Sizes of a graph's values from sizes of its inputs, by which differentiate.ts undoes broadcasting, slices and
// products. Operators of half-blocks and heads (src/graphs) have a rule.
import type { Dimension, Graph, GraphNode, Value } from '../formats/onnx.ts'

export type Shape = readonly Dimension[]

/** A size that is not known. Like symbolic ones it is never 1 where another is broadcast to it. */
const UNKNOWN = '?'

type ShapeRule = (node: GraphNode, shapes: readonly Shape[], ints: (input: number) => readonly number[]) => Shape[]

const same: ShapeRule = (_, [x]) => [x]
const broadcasted: ShapeRule = (_, [a, b]) => [broadcast(a, b)]

const RULES: Readonly<Record<string, ShapeRule>> = {
  ...Object.fromEntries(
    [
      ...['Neg', 'Exp', 'Tanh', 'Relu', 'Gelu', 'com.microsoft.QuickGelu', 'Softmax', 'LogSoftmax', 'Trilu'],
      ...['SimplifiedLayerNormalization', 'RMSNormalization', 'LayerNormalization'],
    ].map(type => [type, same]),
  ),
  ...Object.fromEntries(['Add', 'Sub', 'Mul', 'Div', 'Greater'].map(type => [type, broadcasted])),
  Gemm: ({ attributes }, [a, b]) => [[a[attributes.transA ? 1 : 0], b[attributes.transB ? 0 : 1]]],
  MatMul: (_, [a, b]) => [[...broadcast(a.slice(0, -2), b.slice(0, -2)), a.at(-2)!, b.at(-1)!]],
  Where: (_, [is, a, b]) => [broadcast(is, broadcast(a, b))],
  GatherElements: (_, [, indices]) => [indices],
  Expand: (_, __, ints) => [ints(1)],
  Transpose: ({ attributes }, [x]) => [(attributes.perm as readonly number[]).map(axis => x[axis])],
  Reshape: (_, [x], ints) => [reshaped(x, ints(1))],
  Slice(_, [x], ints) {
    const { axis, from, to } = sliceOf(x, ints)
    return [x.with(axis, to - from)]
  },
  Concat({ attributes }, shapes) {
    const axis = axisOf(attributes.axis as number, shapes[0])
    const sizes = shapes.map(shape => shape[axis])
    return [shapes[0].with(axis, sizes.every(isNumber) ? sizes.reduce((p, q) => p + q) : UNKNOWN)]
  },
  Split({ attributes, outputs }, [x]) {
    const axis = axisOf(attributes.axis as number, x)
    const size = x[axis]
    return outputs.map(() => x.with(axis, isNumber(size) ? size / outputs.length : UNKNOWN))
  },
  Gather: ({ attributes }, [x], ints) => [x.with(axisOf(attributes.axis as number, x), ints(1).length)],
  ReduceSum: (_, [x], ints) => [ints(1).reduce((shape, axis) => shape.with(axisOf(axis, x), 1), x)],
}

/** Sizes of values whose operators have a rule, without values that follow from others. @param constants by value */
export function shapesOf(g: Graph, constants: ReadonlyMap<Value, GraphNode['constant']>): Map<Value, Shape> {
  const shapes = new Map<Value, Shape>(g.inputShapes)
  for (const node of g.nodes) {
    if (node.constant) shapes.set(node.outputs[0], node.constant.shape)
    const known = node.inputs.map(value => shapes.get(value))
    const rule = RULES[node.type]
    if (!rule || known.includes(undefined)) continue
    const found = rule(node, known as Shape[], input => constants.get(node.inputs[input])?.values ?? [])
    for (const [i, shape] of found.entries()) shapes.set(node.outputs[i], shape)
  }
  return shapes
}

/** A slice along one axis by steps of 1, as our graphs have them. @param ints constants of the node's inputs */
export function sliceOf(x: Shape, ints: (input: number) => readonly number[]) {
  const [[from], [end], [axis]] = [1, 2, 3].map(ints)
  const size = x[axis]
  return { axis, from, to: isNumber(size) ? Math.min(end, size) : end }
}

export const isNumber = (size: Dimension): size is number => typeof size === 'number'

export const axisOf = (axis: number, shape: Shape): number => (axis < 0 ? axis + shape.length : axis)

export function broadcast(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length)
  const [p, q] = [a, b].map(shape => [...new Array<Dimension>(rank - shape.length).fill(1), ...shape])
  return p.map((size, i) => (size === 1 || (isNumber(q[i]) && q[i] !== 1) ? q[i] : size))
}

function reshaped(x: Shape, to: readonly number[]): Shape {
  if (!to.includes(-1)) return to
  const product = (sizes: readonly number[]) => sizes.reduce((p, q) => p * q, 1)
  const rest = x.every(isNumber) ? product(x) / product(to.filter(size => size > 0)) : UNKNOWN
  return to.map(size => (size === -1 ? rest : size))
}
