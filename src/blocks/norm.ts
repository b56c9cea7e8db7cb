// Norms inside graphs: RMSNorm (LLaMA) and LayerNorm (OPT).
import type { Graph, Value } from '../formats/onnx.ts'
import type { Architecture } from '../model/architecture.ts'

/** Adds `norm(x)` over the last axis. Its weights become the inputs `norm.weight` [d] and, for LayerNorm, `norm.bias` [d]. */
export function norm(g: Graph, a: Architecture, x: Value): Value {
  const input = (name: string) => g.input(name, 'float32', [a.hiddenSize])
  if (a.norm.type === 'layer') return normalise(g, a, x, [input('norm.weight'), input('norm.bias')])
  // ONNX Runtime's own name for RMSNormalization, which is the one that OpenVINO knows.
  return g.op('SimplifiedLayerNormalization', [x, input('norm.weight')], attributes(a))
}

/** Adds `norm(x)` with weights that are there: [weight], or [weight, bias] for LayerNorm. In standard ONNX, as models are exported with it. */
export function normalise(g: Graph, a: Architecture, x: Value, weights: Value[]): Value {
  return g.op(a.norm.type === 'rms' ? 'RMSNormalization' : 'LayerNormalization', [x, ...weights], attributes(a))
}

const attributes = ({ norm }: Architecture) => ({ axis: -1, epsilon: { float: norm.epsilon } })
