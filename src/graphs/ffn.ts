// The FFN's hidden activations are `H = act(gate(x)) · up(x)` or `act(fc1(x))` [tokens, f]: the input of down_proj.
import type { Graph, Value } from '../formats/onnx.ts'
import type { Activation, FfnHalf } from '../model/half-block.ts'
import type { Layers } from './layers.ts'

/** Adds `H`, or `Hᵀ` where the layers give that. @param x normed */
export function ffnHidden(g: Graph, half: FfnHalf, x: Value, layers: Layers): Value {
  const [first, ...others] = layers.inputs(x, half)
  return others.reduce((product, y) => g.op('Mul', [product, y]), activate(g, first, half.activation))
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
