// Lists what this machine computes with (`fasp inspect --devices`), and chooses the device that `--device auto` takes. The engine tells both.
import { readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus, freemem, totalmem } from 'node:os'
import { bytes, oneLine, wrap } from '../base/display.ts'
import type { Device } from '../engine/device.ts'
import { openEngine } from '../engine/engine.node.ts'
import type { Engine } from '../engine/engine.ts'
import { chooseBlas } from '../engine/linalg/blas.node.ts'
import { openOpenVino } from '../engine/openvino.node.ts'
import { onnxRuntime, RUNTIME_VERSION } from '../engine/ort/package.node.ts'
import { launchedBy } from '../ranks/launcher.ts'
import { memoryLimits } from '../verbs/memory.node.ts'

/** A result, or the reason why there is none. */
export type Found<T> =
  | { readonly found: T; readonly problem?: undefined }
  | { readonly problem: string; readonly found?: undefined }

export interface Choice {
  readonly device: Device
  readonly why: string
}

/** Opens a device, and multiplies on it. */
type Open = (device: Device) => Promise<Found<unknown>>

/** Takes the device for a command, and says which in a line. @throws DeviceError where ONNX Runtime is missing */
export async function deviceOf({
  blas = 'none',
  products = 'float32',
}: {
  readonly blas?: string
  readonly products?: string
}): Promise<Device> {
  const beside = blas !== 'none' ? '--blas' : products === 'bf16' ? '--products bf16' : undefined
  const choice = await chooseDevice(opened, process.platform, beside)
  if (!launchedBy(process.env)?.rank) process.stderr.write(`${choiceText(choice)}\n`)
  return choice.device
}

/**
 * CUDA where it opens. WebGPU on a Mac alone: ONNX Runtime does not tell which adapter it takes, and elsewhere that may be a driver in software,
 * which is slower than the CPU.
 * @param beside an option of the command that works on the CPU alone, as `--blas`
 */
export async function chooseDevice(open: Open, platform: string, beside?: string): Promise<Choice> {
  if (beside) return { device: 'cpu', why: `${beside} works on the CPU` }
  if ((await open('cuda')).problem === undefined) return { device: 'cuda', why: 'it opens here' }
  if (platform !== 'darwin') return { device: 'cpu', why: NOT_TOLD }
  const { problem } = await open('webgpu')
  return problem === undefined
    ? { device: 'webgpu', why: 'Metal, which has no driver in software, opens here' }
    : { device: 'cpu', why: problem }
}

const NOT_TOLD =
  'CUDA does not open here (fasp inspect --devices says why), and ONNX Runtime does not tell whether WebGPU would run on a GPU or on a driver ' +
  'in software; ask for it by --device webgpu'

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

/** Loads the libraries and drivers that it tells of. @throws DeviceError where ONNX Runtime is missing and cannot be fetched */
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
    auto: await chooseDevice(async device => (device === 'cuda' ? cuda : webgpu), process.platform),
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
    /** One operator uses so many threads without `--threads`: the calling thread and the threads that ONNX Runtime starts. Linux only. */
    threads: before === undefined ? undefined : threadsHere()! - before + 1,
  }
}

const threadsHere = () => (process.platform === 'linux' ? readdirSync('/proc/self/task').length : undefined)

const INDENT = 14

/** A paragraph for each kind, the choice of `--device auto` last. Names are what drivers and libraries call themselves. */
export function devicesText(devices: Devices, columns: number): string {
  const { cpu, memory, runtime, blas, openvino, auto } = devices
  const { total, free, limit = total } = memory
  const { version, graphs, providers = [], folder = '', threads } = runtime.found ?? {}
  const opens = (device: 'webgpu' | 'cuda', { found, problem } = devices[device]) =>
    found ? `--device ${device} opens; attention runs ${found.attention}` : problem!
  const rows: readonly [string, ...string[]][] = [
    ['CPU', `${cpu.model}, ${cpu.cores} cores, ${cpu.platform}`],
    ['Memory', `${bytes(total)}, ${bytes(free)} of it free${limit < total ? `; limited to ${bytes(limit)}` : ''}`],
    ['ONNX Runtime', runtime.problem ?? `${version} (${graphs}) with ${providers.join(', ')}`, folder],
    ['Threads', threads ? `${threads} for an operator, unless --threads says otherwise` : 'one for each physical core'],
    ['BLAS', blas.auto.problem ?? `--blas auto takes ${blas.auto.found}`, `without --blas: ${blas.unasked ?? 'none'}`],
    ['OpenVINO', openvino.problem ?? `${openvino.found}, for --products bf16`],
    ['WebGPU', opens('webgpu')],
    ['CUDA', opens('cuda')],
  ]
  const paragraphs = rows.map(([name, ...lines]) => {
    const wrapped = lines.filter(line => line !== '').flatMap(line => wrap(oneLine(line), columns - INDENT).split('\n'))
    return wrapped.map((line, i) => `${(i === 0 ? name : '').padEnd(INDENT)}${line}`).join('\n')
  })
  return `${paragraphs.join('\n')}\n\n${wrap(choiceText(auto), columns)}`
}

export const choiceText = ({ device, why }: Choice): string =>
  oneLine(`--device auto takes ${device === 'cpu' ? 'the CPU' : device}: ${why}.`)
