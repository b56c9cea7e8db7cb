// A linear layer inside a graph, and its transpose.
import type { Graph, Value } from '../formats/onnx.ts'

/**
 * What a layer adds to a graph `g`. Its weights become the inputs `<name>.weight` [out, input] and, with a bias, `<name>.bias` [out].
 * @param x [n, input]
 */
type Layer = (g: Graph, x: Value, name: string, out: number | string, input: number | string, bias: boolean) => Value

/** `x Wᵀ + b` [n, out] */
export const linear: Layer = (g, x, name, out, input, bias) => {
  const weight = g.input(`${name}.weight`, 'float32', [out, input])
  return g.op('Gemm', [x, weight, ...(bias ? [g.input(`${name}.bias`, 'float32', [out])] : [])], { transB: 1 })
}

/** `W xᵀ + b` [out, n] */
export const linearTransposed: Layer = (g, x, name, out, input, bias) => {
  const weight = g.input(`${name}.weight`, 'float32', [out, input])
  const column = () => g.op('Unsqueeze', [g.input(`${name}.bias`, 'float32', [out]), g.constant('int64', [1])]) // [out, 1]
  return g.op('Gemm', [weight, x, ...(bias ? [column()] : [])], { transB: 1 })
}
