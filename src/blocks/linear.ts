// A linear layer inside a graph.
import type { Graph, Value } from '../formats/onnx.ts'

/** Adds `x Wᵀ + b`. The weights become the inputs `<name>.weight` [out, in] and, with a bias, `<name>.bias` [out]. */
export function linear(
  g: Graph,
  x: Value,
  name: string,
  out: number | string,
  input: number | string,
  bias: boolean,
): Value {
  const weight = g.input(`${name}.weight`, 'float32', [out, input])
  const inputs = bias ? [x, weight, g.input(`${name}.bias`, 'float32', [out])] : [x, weight]
  return g.op('Gemm', inputs, { transB: 1 })
}

/** Adds its transpose `W xᵀ + b` [out, n]. The same inputs. */
export function linearTransposed(
  g: Graph,
  x: Value,
  name: string,
  out: number | string,
  input: number | string,
  bias: boolean,
): Value {
  const weight = g.input(`${name}.weight`, 'float32', [out, input])
  const inputs = [weight, x]
  if (bias) inputs.push(g.op('Unsqueeze', [g.input(`${name}.bias`, 'float32', [out]), g.constant('int64', [1])]))
  return g.op('Gemm', inputs, { transB: 1 })
}
