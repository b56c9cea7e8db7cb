// What this machine computes with, and the device that `auto` takes. The engine tells both.
import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus, freemem, totalmem } from 'node:os'
import { memoryLimits } from '../base/memory-limits.node.ts'
import type { Device } from '../engine/device.ts'
import { openEngine } from '../engine/engine.node.ts'
import type { Engine } from '../engine/engine.ts'
import { chooseBlas } from '../engine/linalg/blas.node.ts'
import { openOpenVino } from '../engine/openvino.node.ts'
import { onnxRuntime, RUNTIME_VERSION } from '../engine/ort/package.node.ts'

/** A result, or the reason why there is none. */
export type Found<T> =
  | { readonly found: T; readonly problem?: undefined }
  | { readonly problem: string; readonly found?: undefined }

export interface DeviceChoice {
  readonly device: Device
  readonly why: string
}

/** Opens a device, and multiplies on it. */
type Open = (device: Device) => Promise<Found<unknown>>

/**
 * CUDA where it opens. WebGPU on a Mac alone: ONNX Runtime does not tell which adapter it takes, which elsewhere may be
 * a driver in software, slower than the CPU.
 * @param beside an option that works on the CPU alone, as `--blas` @param open what opens a device and multiplies on it
 * @example
 * const { device, why } = await chooseDevice()
 */
export async function chooseDevice(
  beside?: string,
  open: Open = opened,
  platform: string = process.platform,
): Promise<DeviceChoice> {
  if (beside) return { device: 'cpu', why: `${beside} works on the CPU` }
  if ((await open('cuda')).problem === undefined) return { device: 'cuda', why: 'it opens here' }
  if (platform !== 'darwin') return { device: 'cpu', why: NOT_TOLD }
  const { problem } = await open('webgpu')
  return problem === undefined
    ? { device: 'webgpu', why: 'Metal, which has no driver in software, opens here' }
    : { device: 'cpu', why: problem }
}

const NOT_TOLD =
  'CUDA does not open here (fasp inspect --devices says why), and ONNX Runtime does not tell whether WebGPU would ' +
  'run on a GPU or on a driver in software; ask for it by --device webgpu'

async function opened(device: Device): Promise<Found<{ readonly attention: string }>> {
  return attempt(async () => {
    await using engine = openEngine({ device, blas: false })
    await multiply(engine)
    return { attention: engine.dialect.attention === 'operator' ? 'by ONNX Runtime’s operator' : 'by products' }
  })
}

async function multiply(engine: Engine): Promise<void> {
  const [product] = await engine.linalg.multiply(Float32Array.of(2), Float32Array.of(3), 1)
  if (product !== 6) throw new Error(`it says that 2 × 3 is ${product}`)
}

async function attempt<T>(look: () => T | Promise<T>): Promise<Found<T>> {
  try {
    return { found: await look() }
  } catch (error) {
    return { problem: (error as Error).message }
  }
}

export type Devices = Awaited<ReturnType<typeof inspectDevices>>

/**
 * What this machine computes with: CPU, memory, ONNX Runtime, BLAS, OpenVINO, WebGPU, CUDA. Loads their drivers.
 * @example
 * const { webgpu, auto } = await inspectDevices()
 * @throws DeviceError where ONNX Runtime is missing and cannot be fetched */
export async function inspectDevices() {
  const folder = onnxRuntime()
  const runtime = await attempt(() => runtimeIn(folder))
  const [cuda, webgpu] = [await opened('cuda'), await opened('webgpu')]
  return {
    cpu: {
      model: cpus()[0]?.model.trim() ?? 'unknown',
      cores: cpus().length,
      platform: `${process.platform} ${process.arch}`,
    },
    /** In bytes; the limit is that of a container, or of the machine with its swap. */
    memory: { total: totalmem(), free: freemem(), limit: memoryLimits().memory },
    runtime,
    blas: { auto: await attempt(() => chooseBlas({ blas: 'auto' })!.name), unasked: chooseBlas({})?.name },
    openvino: await attempt(() => {
      const { name, graphs } = openOpenVino(RUNTIME_VERSION)
      graphs()
      return name
    }),
    ...{ webgpu, cuda },
    auto: await chooseDevice(undefined, async device => (device === 'cuda' ? cuda : webgpu)),
  }
}

async function runtimeIn(folder: string) {
  await using engine = openEngine({ blas: false })
  const before = threadsHere()
  await multiply(engine)
  const backends: { name: string; bundled: boolean }[] = createRequire(import.meta.url)(folder).listSupportedBackends()
  return {
    ...{ version: engine.facts.onnxruntime, folder, graphs: engine.facts.graphs },
    providers: backends.filter(({ bundled }) => bundled).map(({ name }) => name),
    /** One operator has so many threads by default: the calling one and those of ONNX Runtime. Linux only. */
    threads: before === undefined ? undefined : threadsHere()! - before + 1,
  }
}

const threadsHere = () => (process.platform === 'linux' ? readdirSync('/proc/self/task').length : undefined)
