// The FFN's hidden activations `H = act(gate(x)) · up(x)` or `act(fc1(x))` [tokens, f] are the input of down_proj.
import { Graph, type Value } from '../formats/onnx.ts'
import { type Activation, type Experts, type FfnHalf, type HalfBlock, hiddenSize } from '../model/half-block.ts'
import { inputNorm, type Layers, linear } from './layers.ts'

/** Adds `H`, or `Hᵀ` where layers are transposed. @param x normed */
export function ffnHidden(g: Graph, half: FfnHalf, x: Value, layers: Layers): Value {
  const [first, ...others] = layers.inputs(x, half)
  return others.reduce((product, y) => g.op('Mul', [product, y]), activate(g, first, half.activation))
}

/** Graph of the gates [n, experts] of the rows of `x` [n, d]. */
export function gatesGraph(half: HalfBlock, { router }: Experts): Graph {
  const g = new Graph('gates')
  const x = g.input('x', 'float32', ['n', hiddenSize(half)])
  const normed = half.norms.before ? inputNorm(g, x, half.norms.before, 'before') : x
  const logits = linear(g, normed, 'router', [router.out, router.in], false)
  g.output('gates', g.op('Softmax', [logits], { axis: -1 }), 'float32', ['n', router.out])
  return g
}

function activate(g: Graph, x: Value, activation: Activation): Value {
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
