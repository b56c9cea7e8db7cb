// A half-block as a graph: `y = x + W_out · hidden(before(x))`, then the norm where the model normalises after the sum. What `hidden` is comes
// from attention.ts and ffn.ts; the export to ONNX composes the same (write/onnx/decoder.ts).
import { Graph, type Value } from '../formats/onnx.ts'
import { type AttentionHalf, type HalfBlock, hiddenSize, hiddenWidth } from '../model/half-block.ts'
import { type AttentionForm, attentionHidden } from './attention.ts'
import { ffnHidden } from './ffn.ts'
import { inputLayers, type Layers, linear } from './layers.ts'

/** What attention needs to know beside the half-block; FFNs need nothing. */
export type Form = AttentionForm | undefined

/** What the input layers read. */
export const normed = (half: HalfBlock, x: Value, layers: Layers): Value =>
  half.before ? layers.norm(x, half.before) : x

/** The new stream, from what the output layer adds to it. */
export function residual(g: Graph, half: HalfBlock, x: Value, update: Value, layers: Layers): Value {
  const y = g.op('Add', [x, update])
  return half.afterSum ? layers.norm(y, half.afterSum) : y
}

/** Graph of `Hᵀ` [width, n] from the stream `x` [n, d]. */
export function hiddenGraph(half: HalfBlock, form: Form): Graph {
  const g = new Graph(half.kind)
  const x = g.input('x', 'float32', ['n', hiddenSize(half)])
  if (half.kind === 'ffn') {
    const layers = inputLayers(g, half, 'transposed')
    g.output('h', ffnHidden(g, half, normed(half, x, layers), layers), 'float32', ['f', 'n'])
  } else {
    const layers = inputLayers(g, half)
    const h = attentionHidden(g, half, normed(half, x, layers), layers, form!, 'transposed')
    g.output('h', h, 'float32', [hiddenWidth(half), 'n'])
  }
  return g
}

/** Graph of the new stream `y` [n, d] from `x` [n, d]. */
export function halfBlockGraph(half: HalfBlock, form: Form): Graph {
  const g = new Graph(half.kind)
  const x = g.input('x', 'float32', ['n', hiddenSize(half)])
  const layers = inputLayers(g, half)
  const from = normed(half, x, layers)
  const h =
    half.kind === 'ffn'
      ? ffnHidden(g, half, from, layers)
      : attentionHidden(g, half as AttentionHalf, from, layers, form!)
  const y = residual(g, half, x, layers.linear(h, half.output), layers)
  g.output('y', y, 'float32', ['n', hiddenSize(half)])
  return g
}

/**
 * Graph of the new stream from `x` [n, d], `h` = Hᵀ [f, n], `kept` [m] = the rows of Hᵀ that stay, and the inputs of the layer `out`.
 * `y` may overwrite `x`.
 */
export function residualGraph(half: HalfBlock, bias: boolean): Graph {
  const g = new Graph('residual')
  const d = hiddenSize(half)
  const x = g.input('x', 'float32', ['n', d])
  const h = g.op('Gather', [g.input('h', 'float32', ['f', 'n']), g.input('kept', 'int32', ['m'])], { axis: 0 }) // [m, n]
  const rows = g.op('Transpose', [h], { perm: [1, 0] }) // the runtime makes it a part of a Gemm
  const update = linear(g, rows, 'out', [d, 'm'], bias) // [n, d]
  g.output('y', residual(g, half, x, update, inputLayers(g, half)), 'float32', ['n', d])
  return g
}
