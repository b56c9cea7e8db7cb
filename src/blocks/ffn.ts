// The FFN half-block. Its hidden activations are `H = act(gate(x)) · up(x)` or `act(fc1(x))` [tokens, f]: the input of down_proj.
import { Graph, type Value } from '../formats/onnx.ts'
import type { Activation, Architecture } from '../model/architecture.ts'
import { linear, linearTransposed } from './linear.ts'
import { norm } from './norm.ts'
import { residual } from './residual.ts'

/** Graph of `Hᵀ` [f, n] from the stream `x` [n, d]. The width f is symbolic, so that one session serves every width. */
export function ffnHiddenGraph(a: Architecture): Graph {
  const g = new Graph('ffn')
  const x = g.input('x', 'float32', ['n', a.hiddenSize])
  g.output('h', hidden(g, a, x, linearTransposed), 'float32', ['f', 'n'])
  return g
}

/** Graph of the new stream `y` [n, d] from `x` [n, d]. */
export function ffnGraph(a: Architecture): Graph {
  const g = new Graph('ffn')
  const x = g.input('x', 'float32', ['n', a.hiddenSize])
  const h = hidden(g, a, x, linear)
  g.output('y', residual(g, a, x, linear(g, h, 'out', a.hiddenSize, 'f', a.bias.ffn)), 'float32', ['n', a.hiddenSize])
  return g
}

function hidden(g: Graph, a: Architecture, x: Value, layer: typeof linear): Value {
  const normed = a.postNorm ? x : norm(g, a, x)
  const [first, ...others] = a.names.layer.ffnIn.map((_, i) =>
    layer(g, normed, `in${i}`, 'f', a.hiddenSize, a.bias.ffn),
  )
  return others.reduce((product, y) => g.op('Mul', [product, y]), activate(g, first, a.activation))
}

export function activate(g: Graph, x: Value, activation: Activation): Value {
  switch (activation) {
    case 'silu': // QuickGelu is x·sigmoid(alpha·x) in one pass over memory
      return g.op('com.microsoft.QuickGelu', [x], { alpha: { float: 1 } })
    case 'relu':
      return g.op('Relu', [x])
    case 'gelu':
      return g.op('Gelu', [x])
    case 'gelu_tanh':
      return g.op('Gelu', [x], { approximate: 'tanh' })
  }
}
