// Providers of ONNX Runtime for devices with a memory of their own, and the options of their sessions.
import type { Graph } from '../../formats/onnx.ts'
import { type Api, type Pointer, pluginDevice } from './c.node.ts'
import { withWebgpuKernels } from './kernels.ts'

export interface DeviceProvider {
  readonly device: 'webgpu' | 'cuda'
  /** Name of the memory. */
  readonly memory: string
  /** Path of its library of ONNX Runtime. @default the library of onnxruntime-node */
  readonly library?: string
  /** Products besides float32's. */
  readonly reduced?: 'tf32'
  /** Adds it to the options of a session. May change the graph. @param precision of products */
  append(api: Api, options: Pointer, graph: Graph, precision: string): void
}

export const DEVICE_PROVIDERS = {
  webgpu: {
    device: 'webgpu',
    memory: 'WebGPU_Buf',
    append(api, options, graph) {
      withWebgpuKernels(graph)
      api.SessionOptionsAppendExecutionProvider(options, 'WebGPU', [], [], 0)
    },
  },
  cuda: {
    device: 'cuda',
    memory: 'Cuda',
    reduced: 'tf32',
    append(api, options, _graph, precision) {
      const own = api.CreateCUDAProviderOptions()
      try {
        api.UpdateCUDAProviderOptions(own, ['use_tf32'], [precision === 'tf32' ? '1' : '0'], 1)
        api.SessionOptionsAppendExecutionProvider_CUDA_V2(options, own)
      } finally {
        api.ReleaseCUDAProviderOptions(own)
      }
    },
  },
} as const satisfies Record<string, DeviceProvider>

/** WebGPU by a library of its own (package onnxruntime-ep-webgpu of PyPI, MIT). @param library its path */
export const webgpuPlugin = (library: string): DeviceProvider => ({
  ...DEVICE_PROVIDERS.webgpu,
  append(api, options, graph) {
    withWebgpuKernels(graph)
    const devices = BigUint64Array.of(pluginDevice(api, 'WebGpuExecutionProvider', library, false))
    api.SessionOptionsAppendExecutionProvider_V2(options, api.env, devices, 1, [], [], 0)
  },
})
