// Where graphs run: ONNX Runtime's execution providers, and what each cannot do. docs/devices.md says what was checked.
import { DeviceError, notOneOf } from '../base/errors.ts'
import type { Graph } from '../formats/onnx.ts'
import { faultOf } from './ort/faults.ts'

export const DEVICES = ['cpu', 'webgpu', 'cuda'] as const

/** `webgpu`: a GPU with a driver for Vulkan, Direct3D 12 or Metal. `cuda`: an NVIDIA GPU with libraries of its own. */
export type Device = (typeof DEVICES)[number]

/** Which operators graphs are made of on an engine. */
export interface Dialect {
  /**
   * `operator`: an operator of attention, in plain windows alone; `blocks`: the operator in all windows, in blocks
   * where that is faster; `products`: matrix products.
   */
  readonly attention: 'operator' | 'blocks' | 'products'
  /** The end of a pruned half-block: a graph, or the product alone by `Linalg.gemm`, which adds in place. */
  readonly residual: 'graph' | 'product'
}

/**
 * @param isRight the operator of attention was tried on this device and found right: ONNX Runtime 1.30's is wrong with
 * Tint, a shader compiler of WebGPU (docs/devices.md)
 */
export const dialectOf = (device: Device, residual: Dialect['residual'], isRight = false): Dialect => ({
  attention: device === 'cpu' ? 'blocks' : isRight ? 'operator' : 'products',
  residual,
})

/** What to do where a device cannot be used. */
const HINTS = {
  webgpu:
    'It needs a GPU with a driver for Vulkan (Linux; of Mesa, 25.0 works and 22.3 does not), Direct3D 12 (Windows) ' +
    'or Metal (macOS). Install one (docs/devices.md), or use --device cpu.',
  cuda:
    'It needs Linux x64, an NVIDIA GPU, CUDA, cuDNN, and ONNX Runtime’s CUDA libraries, which are not in the ' +
    'npm package. Install them (docs/devices.md), or use --device webgpu or cpu.',
}

/** @throws UsageError for a device that does not exist */
export function checkDevice(device: string): void {
  if (!(DEVICES as readonly string[]).includes(device)) throw notOneOf('device', device, DEVICES)
}

/** The providers of a session, best first. The CPU takes float64, and operators that a GPU has no kernel for. */
export const providers = (device: Device, graph: Graph): Device[] =>
  device === 'cpu' || graph.isDouble ? ['cpu'] : [device, 'cpu']

/** The error of a session that cannot be made on a GPU, without the failed check in the runtime's source. */
export function deviceError(device: Exclude<Device, 'cpu'>, cause: unknown): DeviceError {
  const [said] = String(cause instanceof Error ? cause.message : cause)
    .trim()
    .split('\n')
  const problem = said.replace(/^.*(?: was false\. | : FAIL : |\] (?=CUDA failure ))|[ ;]*GPU=.*$/g, '')
  const message = `ONNX Runtime cannot use it: ${problem}. ${HINTS[device]}`
  return faultOf(device, cause) ?? new DeviceError(device, message, { cause })
}
