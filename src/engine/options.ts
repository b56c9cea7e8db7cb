// Options of an engine.
import type { Device } from './device.ts'

export interface EngineOptions {
  /** Where graphs run. Operators that a GPU's provider has no kernel for run on the CPU. @default 'cpu' */
  readonly device?: Device
  /** GiB of a GPU's memory that weights, rows and sums may take. @default 1 */
  readonly deviceMemory?: number
  /**
   * In Node on Linux: path of a GPU's provider for ONNX Runtime, `libonnxruntime_providers_webgpu.so` of the Python
   * package onnxruntime-ep-webgpu or `libonnxruntime_providers_cuda.so` of onnxruntime-gpu. @default as found
   * (docs/devices.md)
   */
  readonly provider?: string
  /** Threads of one operator. @default OMP_NUM_THREADS, or one for each physical core */
  readonly threads?: number
  /**
   * In Node, on the CPU: a library with BLAS and LAPACK for Gram matrices, solves and other products outside graphs:
   * its path, its name where the system's loader finds it, `auto` to look for one (docs/devices.md), `false` or `none`
   * for none.
   * @default OpenBLAS, where it is installed and known to be faster (Linux, x64 with AVX2 and without AVX-512)
   */
  readonly blas?: string | false
}
