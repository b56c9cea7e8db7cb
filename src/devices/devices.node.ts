// What this machine can compute with, and which device `--device auto` takes of it.
import { readdirSync, readFileSync } from 'node:fs'
import { cpus, freemem, totalmem } from 'node:os'
import type { Device } from '../engine/device.ts'
import { memoryLimits } from '../library/memory.node.ts'
import { onnxRuntime } from '../onnxruntime.node.ts'
import { type Choice, chooseDevice, type Looks } from './choose.ts'
import { probe } from './probe.node.ts'

/** Drivers of Vulkan in software, by their manifests: Mesa's, and Google's. Its loader knows the variable since 1.3.234. */
const DISABLE = 'VK_LOADER_DRIVERS_DISABLE'
const SOFTWARE_DRIVERS = '*lvp*,*swiftshader*'

/** The environment in which Vulkan has no driver in software. */
const withoutSoftware = () => ({
  [DISABLE]: [process.env[DISABLE], SOFTWARE_DRIVERS].filter(one => one).join(','),
})

/**
 * What `--device auto` takes; where that is WebGPU, this process sees no drivers in software from then on.
 * @param beside what was asked for that works beside the CPU alone
 * @throws DeviceError where ONNX Runtime is missing and cannot be fetched
 */
export async function autoDevice(beside?: string, signal?: AbortSignal): Promise<Choice> {
  onnxRuntime() // may be fetched, which a child would do without a word
  const choice = await chooseDevice(looks(signal), beside)
  if (choice.device === 'webgpu') Object.assign(process.env, withoutSoftware())
  return choice
}

const looks = (signal?: AbortSignal): Looks => ({
  platform: process.platform,
  cuda: async () => hasCuda(await probe('runtime', undefined, { signal })),
  vulkan: software => probe('vulkan', undefined, { signal, env: software ? {} : withoutSoftware() }),
  nodes,
  product: device => probe('product', device, { signal, env: withoutSoftware() }),
})

const hasCuda = ({ found }: Awaited<ReturnType<typeof probe<'runtime'>>>): boolean => found?.cuda.isThere === true

/** By which Linux offers GPUs to drivers. */
const nodes = (): string[] => [
  ...entries('/dev/dri')
    .filter(name => name.startsWith('renderD'))
    .map(name => `/dev/dri/${name}`),
  ...entries('/dev')
    .filter(name => /^nvidia\d+$/.test(name))
    .map(name => `/dev/${name}`),
]

/** What NVIDIA's driver for Linux has. */
const NVIDIA = '/proc/driver/nvidia/gpus'
const cards = (): string[] =>
  entries(NVIDIA).map(at => /^Model:\s*(.*)$/m.exec(contents(`${NVIDIA}/${at}/information`))?.[1] ?? at)

const entries = (folder: string) => orNothing(() => readdirSync(folder)) ?? []
const contents = (path: string) => orNothing(() => readFileSync(path, 'utf8')) ?? ''

function orNothing<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

/** Of sets of instructions those that products get faster by. */
const FEATURES = /^(avx2?|fma|f16c|avx512(f|_bf16|_fp16|_vnni)|avx_vnni|amx_\w+|asimd|asimd(hp|dp)|bf16|i8mm|sve2?)$/

export type Devices = Awaited<ReturnType<typeof inspectDevices>>

/**
 * All that is known of what this machine computes with. Loads its libraries and drivers in processes of their own.
 * @throws DeviceError as `autoDevice`
 */
export async function inspectDevices(signal?: AbortSignal) {
  onnxRuntime()
  const tried = (device: Device) => probe('product', device, { signal })
  const [runtime, blas, openvino, adapters, webgpu, cuda, mpi] = await Promise.all([
    probe('runtime', undefined, { signal }),
    probe('blas', undefined, { signal }),
    probe('openvino', undefined, { signal }),
    probe('vulkan', undefined, { signal }),
    tried('webgpu'),
    tried('cuda'),
    probe('mpi', undefined, { signal }),
  ])
  return {
    cpu: {
      model: cpus()[0]?.model.trim() ?? 'unknown',
      cores: cpus().length,
      platform: `${process.platform} ${process.arch}`,
      /** Where it can be told. */
      features: /^(?:flags|Features)\s*:(.*)$/m
        .exec(contents('/proc/cpuinfo'))?.[1]
        .split(' ')
        .filter(feature => FEATURES.test(feature)),
    },
    /** In bytes; the limit is that of a container, or of the machine with its swap. */
    memory: { total: totalmem(), free: freemem(), limit: memoryLimits().memory },
    runtime,
    blas,
    openvino,
    webgpu: { adapters, nodes: nodes(), product: webgpu },
    cuda: { cards: cards(), product: cuda },
    mpi,
    auto: await chooseDevice({
      ...looks(signal),
      cuda: async () => hasCuda(runtime),
      vulkan: software => (software ? Promise.resolve(adapters) : looks(signal).vulkan(false)),
    }),
  }
}
