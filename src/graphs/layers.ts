// Linear layers and norms inside graphs. In graphs of the engine, weights are inputs named by their role in the
// half-block, so that similar layers share a session; in an export they are initializers (write/onnx/decoder.ts).
import type { Graph, Value } from '../formats/onnx.ts'
import type { HalfBlock, Linear, Norm } from '../model/half-block.ts'

/** Builds the layers of a half-block in a graph. */
export interface Layers {
  /** `x Wᵀ + b` [n, out] of `x` [n, in], or its transpose. */
  linear(x: Value, layer: Linear): Value
  /** `linear` of each input layer. */
  inputs(x: Value, half: HalfBlock): readonly Value[]
  norm(x: Value, norm: Norm): Value
  /** In the type of the activations. */
  constant(value: number): Value
}

/** The names of a half-block's weights in its graphs: `in0.weight`, `out.bias`, `before.weight`. */
const roleOf = (half: HalfBlock, part: Linear | Norm): string => {
  if (part === half.output) return 'out'
  const ofNorm = Object.entries(half.norms).find(([, norm]) => norm === part)?.[0]
  return ofNorm ?? `in${half.inputs.indexOf(part as Linear)}`
}

/** Layers whose weights are inputs. The width of an FFN is symbolic, so that one session serves every width. */
export function inputLayers(g: Graph, half: HalfBlock, order?: 'transposed'): Layers {
  const ffn = half.kind === 'ffn'
  const ofRole = (x: Value, layer: Linear) => {
    const isOutput = layer === half.output
    const sizes = [ffn && !isOutput ? 'f' : layer.out, ffn && isOutput ? 'f' : layer.in]
    return linear(g, x, roleOf(half, layer), sizes, layer.bias, order)
  }
  return {
    linear: ofRole,
    inputs: x => half.inputs.map(layer => ofRole(x, layer)),
    norm: (x, norm) => inputNorm(g, x, norm, roleOf(half, norm)),
    constant: value => g.constant('float32', [value]),
  }
}

/** Adds `x Wᵀ + b` [n, out], or `W xᵀ + b` [out, n], with inputs `<name>.weight` [out, in] and `<name>.bias` [out]. */
export function linear(
  g: Graph,
  x: Value,
  name: string,
  [out, columns]: readonly (number | string)[],
  bias: boolean,
  order?: 'transposed',
): Value {
  const weight = g.input(`${name}.weight`, 'float32', [out, columns])
  const biases = bias ? [g.input(`${name}.bias`, 'float32', [out])] : []
  if (!order) return g.op('Gemm', [x, weight, ...biases], { transB: 1 })
  const column = biases.map(b => g.op('Unsqueeze', [b, g.constant('int64', [1])])) // [out, 1]
  return g.op('Gemm', [weight, x, ...column], { transB: 1 })
}

/** Adds `norm(x)` over the last axis, with inputs `<name>.weight` and, for LayerNorm, `<name>.bias`, of its size. */
export function inputNorm(g: Graph, x: Value, norm: Norm, name: string): Value {
  const input = (part: string) => g.input(`${name}.${part}`, 'float32', [norm.size])
  if (norm.type === 'layer') return normalise(g, x, norm, [input('weight'), input('bias')])
  // ONNX Runtime's name for RMSNormalization, which other makers of kernels know, too.
  return g.op('SimplifiedLayerNormalization', [x, input('weight')], attributes(norm))
}

/** Adds `norm(x)` in standard ONNX, for exports. @param weights [weight], or [weight, bias] for LayerNorm */
export function normalise(g: Graph, x: Value, norm: Norm, weights: readonly Value[]): Value {
  return g.op(norm.type === 'rms' ? 'RMSNormalization' : 'LayerNormalization', [x, ...weights], attributes(norm))
}

const attributes = ({ epsilon }: Norm) => ({ axis: -1, epsilon: { float: epsilon } })
