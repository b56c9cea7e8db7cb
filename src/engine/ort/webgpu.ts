// Tensors in the memory of a GPU, in a page: buffers of WebGPU on the device of onnxruntime-web.
import type { Tensor, TensorConstructor } from 'onnxruntime-common'
import { DeviceError, RUNNING } from '../../base/errors.ts'
import type { Data, ElementType } from '../../formats/onnx.ts'
import { elements } from '../../formats/tensors.ts'
import { problemOf } from './faults.ts'
import type { DeviceTensors } from './memory.ts'

/** The part of WebGPU that is used: TypeScript's types of the DOM lack it. */
interface GpuDevice {
  readonly queue: {
    writeBuffer(to: GpuBuffer, at: number, data: ArrayBufferLike, from: number, bytes: number): void
    submit(commands: readonly unknown[]): void
  }
  createBuffer(of: { readonly size: number; readonly usage: number }): GpuBuffer
  createCommandEncoder(): {
    copyBufferToBuffer(from: GpuBuffer, at: number, to: GpuBuffer, place: number, bytes: number): void
    finish(): unknown
  }
  pushErrorScope(filter: 'out-of-memory'): void
  popErrorScope(): Promise<{ readonly message: string } | null>
}

interface GpuBuffer {
  mapAsync(mode: number): Promise<void>
  getMappedRange(at: number, bytes: number): ArrayBuffer
  destroy(): void
}

/** onnxruntime-web, built for WebGPU. */
export interface WebGpuRuntime {
  readonly Tensor: TensorConstructor
  /** Its device, from its first session on. */
  readonly env: { readonly webgpu: { readonly device: Promise<unknown> } }
}

// Flags of WebGPU (GPUBufferUsage, GPUMapMode).
const [MAP_READ, COPY_SRC, COPY_DST, STORAGE] = [1, 4, 8, 128]
const READ = 1
/** Kernels read vectors of four, so that buffers end with one. */
const VECTOR_BYTES = 16

const sizeOf = (bytes: number): number => VECTOR_BYTES * Math.ceil(bytes / VECTOR_BYTES)

/** @param said the browser's message */
const failure = (said: string, options?: ErrorOptions) =>
  new DeviceError('webgpu', problemOf(said, 'WebGPU', UNREAD), options, RUNNING)
const UNREAD = 'what lies in its memory cannot be read. Close what else uses it'

const bufferOf = (tensor: Tensor) => tensor.gpuBuffer as unknown as GpuBuffer

export class WebGpuTensors implements DeviceTensors<Tensor> {
  #device?: GpuDevice
  /** The message for a new buffer that there is no room for. */
  #full?: string

  constructor(readonly runtime: WebGpuRuntime) {}

  async ready(): Promise<void> {
    this.#device ??= (await this.runtime.env.webgpu.device) as GpuDevice
  }

  allocate(type: ElementType, shape: readonly number[], bytes: number): Tensor {
    const device = this.#device!
    device.pushErrorScope('out-of-memory')
    const buffer = device.createBuffer({ size: sizeOf(bytes), usage: STORAGE | COPY_SRC | COPY_DST })
    const said = device.popErrorScope().then(error => {
      this.#full ??= error?.message
    })
    said.catch(() => {}) // the device is lost, as the next read will say
    const options = { dataType: type as 'float32', dims: shape, dispose: () => buffer.destroy() }
    return this.runtime.Tensor.fromGpuBuffer(buffer as never, options)
  }

  write({ buffer, byteOffset, byteLength }: Data, _shape: readonly number[], there: Tensor): void {
    this.#device!.queue.writeBuffer(bufferOf(there), 0, buffer, byteOffset, byteLength)
  }

  /** Copies on the device at once: later runs do not wait. @throws DeviceError */
  async read(here: Data, _shape: readonly number[], there: Tensor, isWanted = () => true): Promise<void> {
    const device = this.#device!
    const size = sizeOf(here.byteLength)
    const copy = device.createBuffer({ size, usage: MAP_READ | COPY_DST })
    const encoder = device.createCommandEncoder()
    encoder.copyBufferToBuffer(bufferOf(there), 0, copy, 0, size)
    device.queue.submit([encoder.finish()])
    try {
      await copy.mapAsync(READ)
      if (!isWanted()) return
      const bytes = new Uint8Array(copy.getMappedRange(0, size), 0, here.byteLength)
      new Uint8Array(here.buffer, here.byteOffset, here.byteLength).set(bytes)
    } catch (cause) {
      throw failure((cause as Error).message, { cause })
    } finally {
      copy.destroy()
    }
  }

  part(whole: Tensor, first: number, shape: readonly number[], there: Tensor): void {
    const encoder = this.#device!.createCommandEncoder()
    encoder.copyBufferToBuffer(bufferOf(whole), 4 * first, bufferOf(there), 0, 4 * elements(shape))
    this.#device!.queue.submit([encoder.finish()])
  }

  /** New buffers are zeros. */
  clear(): void {}

  release(there: Tensor): void {
    there.dispose()
  }

  check(): void {
    const full = this.#full
    this.#full = undefined
    if (full) throw failure(`out of memory: ${full}`)
  }
}
