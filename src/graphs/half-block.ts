// A half-block as a graph: `y = x + updateScale · after(W_out · hidden(before(x)))`, then a norm where the model
// normalises the sum. `hidden` comes from attention.ts and ffn.ts; the export to ONNX composes the same
// (write/onnx/decoder.ts).
import { Graph, type Value } from '../formats/onnx.ts'
import { type HalfBlock, hiddenSize, hiddenWidth, isBeside } from '../model/half-block.ts'
import { type AttentionForm, attentionHidden } from './attention.ts'
import { ffnHidden } from './ffn.ts'
import { inputLayers, type Layers, linear } from './layers.ts'

/** What attention needs besides the half-block; undefined for FFNs. */
export type Form = AttentionForm | undefined

/** Adds `H`, or `Hᵀ`, from the stream `x` [n, d]. */
function hidden(g: Graph, half: HalfBlock, x: Value, layers: Layers, form: Form, order?: 'transposed'): Value {
  const from = half.norms.before ? layers.norm(x, half.norms.before) : x
  return half.kind === 'ffn' ? ffnHidden(g, half, from, layers) : attentionHidden(g, half, from, layers, form!, order)
}

/** Adds the new stream, from the output layer's result. */
function residual(g: Graph, { norms, updateScale }: HalfBlock, x: Value, output: Value, layers: Layers): Value {
  const { after, afterSum } = norms
  const update = after ? layers.norm(output, after) : output
  const y = g.op('Add', [x, updateScale ? g.op('Mul', [update, layers.constant(updateScale)]) : update])
  return afterSum ? layers.norm(y, afterSum) : y
}

/** Adds the new stream [n, d] from `x` [n, d]. @param read the half-block's input */
export function halfBlock(g: Graph, half: HalfBlock, x: Value, layers: Layers, form: Form, read = x): Value {
  return residual(g, half, x, layers.linear(hidden(g, half, read, layers, form), half.output), layers)
}

/** Graph of `Hᵀ` [width, n] from the stream `x` [n, d]. */
export function hiddenGraph(half: HalfBlock, form: Form): Graph {
  const g = new Graph(half.kind)
  const x = g.input('x', 'float32', ['n', hiddenSize(half)])
  const isFfn = half.kind === 'ffn'
  const h = hidden(g, half, x, inputLayers(g, half, isFfn ? 'transposed' : undefined), form, 'transposed')
  g.output('h', h, 'float32', [isFfn ? 'f' : hiddenWidth(half), 'n'])
  return g
}

/** Graph of the new stream `y` [n, d] from `x` [n, d] and, where it is another, the half-block's input `read`. */
export function halfBlockGraph(half: HalfBlock, form: Form): Graph {
  const g = new Graph(half.kind)
  const shape = ['n', hiddenSize(half)]
  const x = g.input('x', 'float32', shape)
  const read = isBeside(half) ? g.input('read', 'float32', shape) : x
  g.output('y', halfBlock(g, half, x, inputLayers(g, half), form, read), 'float32', shape)
  return g
}

/**
 * Graph of the new stream from `x` [n, d], `h` = Hᵀ [f, n], the rows `kept` [m] of Hᵀ that stay, and the weights of
 * `out`. `y` may overwrite `x`.
 */
export function residualGraph(half: HalfBlock, bias: boolean): Graph {
  const g = new Graph('residual')
  const d = hiddenSize(half)
  const x = g.input('x', 'float32', ['n', d])
  const inputs = [g.input('h', 'float32', ['f', 'n']), g.input('kept', 'int32', ['m'])]
  const h = g.op('Gather', inputs, { axis: 0 }) // [m, n]
  const rows = g.op('Transpose', [h], { perm: [1, 0] }) // the runtime makes it a part of a Gemm
  const update = linear(g, rows, 'out', [d, 'm'], bias) // [n, d]
  g.output('y', residual(g, half, x, update, inputLayers(g, half)), 'float32', ['n', d])
  return g
}
