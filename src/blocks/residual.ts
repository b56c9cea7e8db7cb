// The end of either half-block: `y = x + H Wᵀ + b`, then the norm where the model normalises after the sum.
import { Graph, type Value } from '../formats/onnx.ts'
import type { Architecture } from '../model/architecture.ts'
import { linear } from './linear.ts'
import { norm } from './norm.ts'

/** Adds `x + update`, and the norm after it. */
export function residual(g: Graph, a: Architecture, x: Value, update: Value): Value {
  const y = g.op('Add', [x, update])
  return a.postNorm ? norm(g, a, y) : y
}

/**
 * Graph of the new stream from `x` [n, d], `h` = Hᵀ [f, n], `kept` [m] = the rows of Hᵀ that stay, and the inputs of the layer `out`.
 * `y` may overwrite `x`.
 */
export function residualGraph(a: Architecture, bias: boolean): Graph {
  const g = new Graph('residual')
  const x = g.input('x', 'float32', ['n', a.hiddenSize])
  const h = g.op('Gather', [g.input('h', 'float32', ['f', 'n']), g.input('kept', 'int32', ['m'])], { axis: 0 }) // [m, n]
  const rows = g.op('Transpose', [h], { perm: [1, 0] }) // the runtime makes it a part of a Gemm
  const update = linear(g, rows, 'out', a.hiddenSize, 'm', bias) // [n, d]
  g.output('y', residual(g, a, x, update), 'float32', ['n', a.hiddenSize])
  return g
}
