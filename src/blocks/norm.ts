// Norms inside graphs: RMSNorm (LLaMA) and LayerNorm (OPT).
import type { Graph, Value } from '../formats/onnx.ts'
import type { Architecture } from '../model/architecture.ts'

/** Adds `norm(x)` over the last axis. Its weights become the inputs `norm.weight` [d] and, for LayerNorm, `norm.bias` [d]. */
export function norm(g: Graph, a: Architecture, x: Value): Value {
  const input = (name: string) => g.input(name, 'float32', [a.hiddenSize])
  return normalise(g, a, x, a.norm.type === 'rms' ? [input('norm.weight')] : [input('norm.weight'), input('norm.bias')])
}

/** Adds `norm(x)` with weights that are there: [weight], or [weight, bias] for LayerNorm. */
export function normalise(g: Graph, { norm: { type, epsilon } }: Architecture, x: Value, weights: Value[]): Value {
  const operator = type === 'rms' ? 'RMSNormalization' : 'LayerNormalization'
  return g.op(operator, [x, ...weights], { axis: -1, epsilon: { float: epsilon } })
}
