// Where graphs run: ONNX Runtime's execution providers, and what each cannot do. What was checked on which is in docs/devices.md.
import type { InferenceSession } from 'onnxruntime-common'
import { DeviceError, notOneOf } from '../errors.ts'
import type { Graph } from '../formats/onnx.ts'
import { faultOf } from '../onnxruntime/faults.ts'

export const DEVICES = ['cpu', 'webgpu', 'cuda'] as const

/** `webgpu` is any GPU with a driver for Vulkan, Direct3D 12 or Metal; `cuda` is an NVIDIA GPU with libraries that npm does not bring. */
export type Device = (typeof DEVICES)[number]

/**
 * Operators that the WebGPU provider of ONNX Runtime 1.30 computes wrongly. Its flash attention counts on a variable in a loop being zero
 * at each turn, and the shader compiler under it (Tint, for Vulkan) makes it zero once (docs/devices.md).
 */
const WRONG_ON_WEBGPU = ['GroupQueryAttention']

/** What graphs are made of on an engine. */
export interface Dialect {
  /**
   * Attention of whole windows: one operator; the same in blocks of queries, where windows have a length that is faster so; or products and
   * softmax.
   */
  readonly attention: 'operator' | 'blocks' | 'products'
  /** Whether the operator of attention takes what is added to its scores. */
  readonly bias: boolean
  /** The end of a pruned half-block: a graph, or the product alone, by `Linalg.gemm`, which adds in place. */
  readonly residual: 'graph' | 'product'
}

/** @param isRight whether the operator of attention is on this device @default as known of ONNX Runtime */
export const dialectOf = (device: Device, residual: Dialect['residual'], isRight = device !== 'webgpu'): Dialect => ({
  attention: device === 'cpu' ? 'blocks' : isRight ? 'operator' : 'products',
  bias: device !== 'cuda',
  residual,
})

/** What to do where a device cannot be used. */
const HINTS = {
  webgpu:
    'It needs a GPU with a driver for Vulkan (Linux; of Mesa, 25.0 works and 22.3 does not), Direct3D 12 (Windows) or Metal (macOS). ' +
    'Install one (docs/devices.md), or use --device cpu.',
  cuda:
    'It needs Linux x64, an NVIDIA GPU, CUDA, cuDNN, and ONNX Runtime’s CUDA libraries, which are not in the npm package. ' +
    'Install them (docs/devices.md), or use --device webgpu or cpu.',
}

/** @throws UsageError for a device that does not exist */
export function checkDevice(device: string): void {
  if (!(DEVICES as readonly string[]).includes(device)) throw notOneOf('device', device, DEVICES)
}

/** Attention with a cache, something added to its scores, a window or a cap, which is not tried. */
const isUntried = (inputs: readonly string[], attributes: readonly string[]): boolean =>
  Boolean(inputs[3] || inputs[10]) || ['local_window_size', 'softcap'].some(name => attributes.includes(name))

/** The nodes of a graph that are to run on the CPU all the same. @param isRight whether attention was tried, and was right */
export const onCpuOf = (graph: Graph, isRight = false): string[] =>
  WRONG_ON_WEBGPU.flatMap(type => graph.nodesOf(type, isRight ? isUntried : undefined))

/** The providers of a session, best first; the CPU takes float64, and what those before it have no kernel for. */
export function providers(device: Device, graph: Graph): InferenceSession.ExecutionProviderConfig[] {
  if (device === 'cpu' || graph.isDouble) return ['cpu']
  if (device === 'cuda') return ['cuda', 'cpu']
  const wrong = onCpuOf(graph)
  return [wrong.length > 0 ? { name: 'webgpu', forceCpuNodeNames: wrong } : 'webgpu', 'cpu'] // an empty list is an error
}

/** What a failure to make a session on a GPU means to the user, without the failed check in the runtime's own source. */
export function deviceError(device: Exclude<Device, 'cpu'>, cause: unknown): DeviceError {
  const [said] = String(cause instanceof Error ? cause.message : cause)
    .trim()
    .split('\n')
  const problem = said.replace(/^.*(?: was false\. | : FAIL : |\] (?=CUDA failure ))|[ ;]*GPU=.*$/g, '')
  const message = `ONNX Runtime cannot use it: ${problem}. ${HINTS[device]}`
  return faultOf(device, cause) ?? new DeviceError(device, message, { cause })
}
