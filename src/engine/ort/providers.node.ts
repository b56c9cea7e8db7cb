// Providers of ONNX Runtime whose devices have a memory of their own, and how sessions are put on them.
import type { Graph } from '../../formats/onnx.ts'
import { type Api, type Pointer, pluginDevice } from './c.node.ts'
import { withWebgpuKernels } from './kernels.ts'

/** A provider of ONNX Runtime whose device has a memory of its own. */
export interface DeviceProvider {
  readonly device: 'webgpu' | 'cuda'
  /** Name of the memory. */
  readonly memory: string
  /** Path of the library of ONNX Runtime that has it. @default that of onnxruntime-node */
  readonly library?: string
  /** Products that it has beside those in float32. */
  readonly reduced?: 'tf32'
  /** Puts it into the options of a session of a graph, which it may change. @param precision of products */
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
