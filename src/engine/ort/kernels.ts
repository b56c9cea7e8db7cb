// Operators without a kernel in a provider of ONNX Runtime, made of operators with one: on the CPU, their inputs would
// have to go there.
import type { Graph, Value } from '../../formats/onnx.ts'

/** For WebGPU in ONNX Runtime 1.30. */
export function withWebgpuKernels(g: Graph): void {
  g.replace('LogSoftmax', ([x]) => logSoftmax(g, x))
}

/** `x − max − log Σ exp(x − max)` along the last axis. */
function logSoftmax(g: Graph, x: Value): Value {
  const along = (type: string, of: Value) => g.op(type, [of, g.constant('int64', [-1])], { keepdims: 1 })
  const below = g.op('Sub', [x, along('ReduceMax', x)])
  return g.op('Sub', [below, g.op('Log', [along('ReduceSum', g.op('Exp', [below]))])])
}
