// The hidden activations of the FFN half-block, `H = act(gate(x)) · up(x)` or `act(fc1(x))` [tokens, f]: the input of down_proj.
import { Graph, type Value } from '../formats/onnx.ts'
import type { Activation, Architecture } from '../model/architecture.ts'
import { linear } from './linear.ts'
import { norm } from './norm.ts'

/** Graph of `H` from the stream `x` [n, d]. The width f is symbolic, so that one session serves every width. */
export function ffnGraph(a: Architecture): Graph {
  const g = new Graph('ffn')
  const x = g.input('x', 'float32', ['n', a.hiddenSize])
  const normed = a.postNorm ? x : norm(g, a, x)
  const [first, ...others] = a.names.layer.ffnIn.map((_, i) =>
    linear(g, normed, `in${i}`, 'f', a.hiddenSize, a.bias.ffn),
  )
  const h = others.reduce((product, y) => g.op('Mul', [product, y]), activate(g, first, a.activation))
  g.output('h', h, 'float32', ['n', 'f'])
  return g
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
