// The end of either half-block: `y = x + H Wᵀ + b`, then the norm where the model normalises after the sum.
import { Graph } from '../formats/onnx.ts'
import type { Architecture } from '../model/architecture.ts'
import { linear } from './linear.ts'
import { norm } from './norm.ts'

/** Graph of the new stream from `x` [n, d], `h` [n, m] and `out.weight` [d, m]; m is symbolic. `y` may overwrite `x`. */
export function residualGraph(a: Architecture, bias: boolean): Graph {
  const g = new Graph('residual')
  const x = g.input('x', 'float32', ['n', a.hiddenSize])
  const h = g.input('h', 'float32', ['n', 'm'])
  let y = g.op('Add', [x, linear(g, h, 'out', a.hiddenSize, 'm', bias)])
  if (a.postNorm) y = norm(g, a, y)
  g.output('y', y, 'float32', ['n', a.hiddenSize])
  return g
}
