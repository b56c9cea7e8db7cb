// Reverse-mode differentiation of a graph (formats/onnx.ts), in the same graph: from the gradient of its output to
// gradients of its inputs, node by node backwards, by the rules of operators (rules.ts). src/graphs states only the
// forward pass.
// Source: Griewank & Walther, Evaluating Derivatives, section 3.2.
import type { Graph, GraphNode, Value } from '../formats/onnx.ts'
import { noGradient, RULES, type Step } from './rules.ts'
import { shapesOf } from './shapes.ts'

/**
 * Adds the gradients of the values `wrt` to a graph.
 * @param dOutput the gradient of `output`, in its shape @param wrt inputs of the graph in float32
 * @returns gradients by value, without values that the output does not depend on
 * @throws Error for an operator without a rule on the way from `wrt` to `output`, naming it
 */
export function differentiate(g: Graph, output: Value, dOutput: Value, wrt: readonly Value[]): Map<Value, Value> {
  const { nodes } = g
  const constants = new Map<Value, GraphNode['constant']>(nodes.map(node => [node.outputs[0], node.constant]))
  const shapes = shapesOf(g, constants)
  const moving = new Set(wrt) // with all that depends on them
  for (const { inputs, outputs } of nodes)
    if (inputs.some(value => moving.has(value))) for (const value of outputs) moving.add(value)
  const found = new Map<Value, Value>(moving.has(output) ? [[output, dOutput]] : [])
  for (const node of nodes.toReversed()) {
    const dys = node.outputs.map(value => found.get(value))
    const [dy] = dys.filter(d => d !== undefined)
    if (!node.inputs.some(value => moving.has(value)) || dy === undefined) continue
    const rule = RULES[node.type]
    if (!rule) throw noGradient(node)
    const gradients = rule(stepOf(g, node, dys), dy)
    for (const [i, value] of node.inputs.entries()) {
      if (!moving.has(value)) continue
      if (!gradients[i]) throw noGradient(node, `that of its input ${i} is not`)
      const before = found.get(value)
      found.set(value, before === undefined ? gradients[i]() : g.op('Add', [before, gradients[i]()]))
    }
  }
  return new Map(wrt.flatMap(value => (found.has(value) ? [[value, found.get(value)!]] : [])))

  function stepOf(g: Graph, { type, inputs, outputs, attributes }: GraphNode, dys: Step['dys']): Step {
    const shape: Step['shape'] = value => {
      const known = shapes.get(value)
      if (!known) throw noGradient({ type }, `the shape of ${value} is not (src/heal/shapes.ts)`)
      return known
    }
    const ints: Step['ints'] = input => {
      const constant = constants.get(inputs[input])
      if (!constant) throw noGradient({ type }, `its input ${input} is no constant`)
      return constant.values
    }
    return { g, type, inputs, outputs, attributes, dys, shape, ints }
  }
}
