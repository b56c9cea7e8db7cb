// Buffers of WebGPU, on a device made of arrays here: with a GPU, or one in software, the goldens of the page run (test/web/goldens.check.ts).
import { setImmediate } from 'node:timers/promises'
import { Tensor } from 'onnxruntime-common'
import { expect, test } from 'vitest'
import { RUNNING } from '../../base/errors.ts'
import { WebGpuTensors } from './webgpu.ts'

class Buffer {
  readonly bytes: Uint8Array
  isThere = true
  constructor(readonly size: number) {
    this.bytes = new Uint8Array(size)
  }
  mapAsync = async (): Promise<void> => undefined
  getMappedRange = (at: number, bytes: number) => this.bytes.buffer.slice(at, at + bytes)
  destroy = () => void (this.isThere = false)
}

/** A device whose buffers have so many bytes together. */
class Device {
  readonly buffers: Buffer[] = []
  #full: { readonly message: string } | null = null
  constructor(readonly room = Number.POSITIVE_INFINITY) {}
  queue = {
    writeBuffer: (to: Buffer, at: number, data: ArrayBuffer, from: number, bytes: number) =>
      to.bytes.set(new Uint8Array(data, from, bytes), at),
    submit: () => {},
  }
  createBuffer({ size }: { readonly size: number }) {
    const used = this.buffers.reduce((sum, { isThere, size }) => sum + (isThere ? size : 0), 0)
    if (used + size > this.room) this.#full = { message: `no room for ${size} bytes` }
    const buffer = new Buffer(size)
    this.buffers.push(buffer)
    return buffer
  }
  createCommandEncoder = () => ({
    copyBufferToBuffer: (from: Buffer, at: number, to: Buffer, place: number, bytes: number) =>
      to.bytes.set(from.bytes.subarray(at, at + bytes), place),
    finish: () => {},
  })
  pushErrorScope = () => void (this.#full = null)
  popErrorScope = async () => this.#full
}

async function opened(device: Device) {
  const tensors = new WebGpuTensors({ Tensor, env: { webgpu: { device: Promise.resolve(device) } } })
  await tensors.ready()
  return tensors
}

test('what goes there comes back, from and into a part of a larger array', async () => {
  const device = new Device()
  const tensors = await opened(device)
  const all = Float32Array.from({ length: 9 }, (_, i) => i)
  const there = tensors.allocate('float32', [3], 12)
  expect(there).toMatchObject({ location: 'gpu-buffer', type: 'float32', dims: [3] })
  expect(device.buffers[0].size).toBe(16) // in vectors of four
  tensors.write(all.subarray(2, 5), [3], there)
  const coming = tensors.read(all.subarray(5, 8), [3], there)
  tensors.release(there) // the copy is made
  expect(device.buffers[0].isThere).toBe(false)
  await coming
  tensors.check()
  expect([...all]).toEqual([0, 1, 2, 3, 4, 2, 3, 4, 8])
  expect(device.buffers.some(({ isThere }) => isThere)).toBe(false)
})

test('memory that is full, and a device that is lost, are said', async () => {
  const device = new Device(64)
  const tensors = await opened(device)
  const there = tensors.allocate('float32', [8], 32)
  await tensors.read(new Float32Array(8), [8], there) // that ends later
  tensors.check()
  tensors.allocate('float32', [12], 48)
  await setImmediate()
  expect(() => tensors.check()).toThrow(
    /^webgpu: while it ran: it has no room left.*deviceMemory.*--resume goes on.* WebGPU said: .*no room for 48 bytes$/,
  )
  tensors.check() // it is said once
  for (const [said, means] of [
    ["Failed to execute 'mapAsync' on 'GPUBuffer': [Device] is lost.", 'it was lost'],
    ['Buffer is destroyed', 'what lies in its memory cannot be read'],
  ]) {
    device.createBuffer = ({ size }) =>
      Object.assign(new Buffer(size), {
        mapAsync: async () => {
          throw new Error(said)
        },
      })
    const read = tensors.read(new Float32Array(8), [8], there)
    await expect(read).rejects.toMatchObject({ at: RUNNING, cause: { message: said } })
    await expect(read).rejects.toThrow(RegExp(`^webgpu: while it ran: ${means}.*--resume goes on.* WebGPU said: `))
  }
})
