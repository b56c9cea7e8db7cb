// Norms inside graphs: RMSNorm (LLaMA) and LayerNorm (OPT).
import type { Graph, Value } from '../formats/onnx.ts'
import type { Architecture } from '../model/architecture.ts'

/** Adds `norm(x)` over the last axis. Its weights become the inputs `norm.weight` [d] and, for LayerNorm, `norm.bias` [d]. */
export function norm(g: Graph, a: Architecture, x: Value): Value {
  const attributes = { axis: -1, epsilon: { float: a.norm.epsilon } }
  const weight = g.input('norm.weight', 'float32', [a.hiddenSize])
  if (a.norm.type === 'rms') return g.op('RMSNormalization', [x, weight], attributes)
  const bias = g.input('norm.bias', 'float32', [a.hiddenSize])
  return g.op('LayerNormalization', [x, weight, bias], attributes)
}
