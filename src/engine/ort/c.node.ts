// ONNX Runtime's C interface, called through FFI (koffi). Its table of functions only grows at the end: places hold for
// all versions.
// Source: onnxruntime_c_api.h.
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type * as Koffi from 'koffi'
import { DATA_TYPES, type Data, type ElementType, elementType } from '../../formats/onnx.ts'
import { BINARIES, onnxRuntime } from './package.node.ts'

/** The version of ONNX Runtime 1.22, the first with execution providers in libraries of their own. */
const API_VERSION = 22
// Values of its enumerations.
export const FATAL = 4
const [DEVICE_ALLOCATOR, DEFAULT_MEMORY, CPU] = [0, 0, 0]

// Functions: the place in the table, and the types of the arguments.
const [P, TEXT, TEXTS, SIZE] = ['void *', 'const char *', 'const char **', 'size_t']
/** Functions that return a status, and a result by their last argument. */
export const MAKERS = {
  CreateEnv: [3, 'int', TEXT],
  CreateSessionFromArray: [8, P, P, SIZE, P],
  CreateSessionOptions: [10],
  CreateTensorAsOrtValue: [48, P, P, SIZE, 'int'],
  CreateTensorWithDataAsOrtValue: [49, P, P, SIZE, P, SIZE, 'int'],
  CreateMemoryInfo: [68, TEXT, 'int', 'int', 'int'],
  CreateCpuMemoryInfo: [69, 'int', 'int'],
  CreateAllocator: [131, P, P],
  CreateCUDAProviderOptions: [205],
} as const
/** Functions that return a status. */
export const ACTIONS = {
  Run: [9, P, P, TEXTS, P, SIZE, TEXTS, SIZE, P],
  SetSessionLogSeverityLevel: [22, P, 'int'],
  SetIntraOpNumThreads: [24, P, 'int'],
  AddSessionConfigEntry: [130, P, TEXT, TEXT],
  SessionOptionsAppendExecutionProvider_CUDA_V2: [204, P, P],
  UpdateCUDAProviderOptions: [206, P, TEXTS, TEXTS, SIZE],
  SessionOptionsAppendExecutionProvider: [216, P, TEXT, TEXTS, TEXTS, SIZE],
  RegisterExecutionProviderLibrary: [301, P, TEXT, TEXT],
  UnregisterExecutionProviderLibrary: [302, P, TEXT],
  GetEpDevices: [303, P, '_Out_ void **', '_Out_ size_t *'],
  SessionOptionsAppendExecutionProvider_V2: [304, P, P, P, SIZE, TEXTS, TEXTS, SIZE],
} as const
/** Functions that return a result. */
export const GETTERS = {
  GetKeyValue: [297, TEXT, P, TEXT],
  HardwareDevice_Type: [307, 'int', P],
  EpDevice_EpName: [312, TEXT, P],
  EpDevice_EpMetadata: [314, P, P],
  EpDevice_Device: [316, P, P],
} as const
/** Functions that free a result, and return nothing. */
export const RELEASES = {
  ...{ ReleaseStatus: 93, ReleaseMemoryInfo: 94, ReleaseSession: 95, ReleaseValue: 96, ReleaseSessionOptions: 100 },
  ReleaseAllocator: 132,
  ReleaseCUDAProviderOptions: 208,
} as const
export const GET_ERROR_MESSAGE = 2

export type Pointer = bigint | null
/** The interface. Functions throw the message of a status. */
export type Api = Record<keyof typeof MAKERS, (...args: unknown[]) => Pointer> &
  Record<keyof typeof ACTIONS, (...args: unknown[]) => void> &
  Record<keyof typeof GETTERS, (...args: unknown[]) => unknown> &
  Record<keyof typeof RELEASES, (made: Pointer) => void> & {
    readonly env: Pointer
    readonly memory: Pointer
    /** The first `count` addresses of a table. */
    readonly addresses: (table: Pointer, count: number) => bigint[]
    /** Calls while subnormal numbers count as zero. */
    readonly flushing: <T>(call: () => T) => T
  }

/** By version and library. */
const opened = new Map<string, Api | undefined>()

/**
 * Undefined where it cannot be called: outside Linux, without koffi, or where the library has another version.
 * @param library path @default the library of onnxruntime-node
 */
export function onnxRuntimeC(version: string, library?: string): Api | undefined {
  const key = `${version} ${library}`
  if (!opened.has(key)) opened.set(key, open(version, library))
  return opened.get(key)
}

function open(version: string, library?: string): Api | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    const require = createRequire(import.meta.url)
    const koffi: typeof Koffi = require('koffi')
    const own = () => join(onnxRuntime(), BINARIES, 'libonnxruntime.so.1')
    const base = koffi.load(library ?? own()).func('void *OrtGetApiBase()')()
    const at = (table: Pointer, place: number, result: string, args: string[]) =>
      koffi.decode(koffi.decode(table, place * koffi.sizeof(P), P), koffi.proto(result, args))
    if (at(base, 1, TEXT, [])() !== version) return undefined
    const table = at(base, 0, P, ['uint32_t'])(API_VERSION)
    const addresses: Api['addresses'] = (list, count) => koffi.decode(list, koffi.array('uintptr_t', count)).map(BigInt)
    const declared = declare((place, result, args) => at(table, place, result, args))
    return { ...declared, addresses, flushing: flushing(koffi) }
  } catch {
    return undefined
  }
}

/** The place of MXCSR in glibc's `fenv_t`, and the bits by which subnormal operands and results count as zero. */
const [MXCSR, FENV_BYTES, FLUSH] = [28, 32, 0x8040]

/**
 * Softmaxes make subnormal numbers by the million, e⁻⁸⁸ and less, and Intel's CPUs take a hundred cycles and more for
 * each (bench/log.md). This thread runs graphs, too; options of the session set its own threads. JavaScript keeps its
 * numbers.
 */
function flushing(koffi: typeof Koffi): Api['flushing'] {
  if (process.arch !== 'x64') return call => call()
  const libm = koffi.load('libm.so.6')
  const [get, set] = ['fegetenv', 'fesetenv'].map(name => libm.func(`int ${name}(void *)`))
  const [own, flush] = [0, 0].map(() => Buffer.alloc(FENV_BYTES))
  return call => {
    get(own)
    own.copy(flush)
    flush.writeUInt32LE(own.readUInt32LE(MXCSR) | FLUSH, MXCSR)
    set(flush)
    try {
      return call()
    } finally {
      set(own)
    }
  }
}

type Declared = Omit<Api, 'addresses' | 'flushing'>

function declare(at: (place: number, result: string, args: string[]) => (...args: unknown[]) => unknown): Declared {
  const map = <K extends string, D, F>(of: Record<K, D>, to: (declared: D) => F) =>
    Object.fromEntries(Object.entries<D>(of).map(([name, declared]) => [name, to(declared)])) as Record<K, F>
  const releases = map(RELEASES, place => at(place, 'void', [P]))
  const message = at(GET_ERROR_MESSAGE, TEXT, [P])
  const check = (status: unknown) => {
    if (status === null) return
    const said = String(message(status))
    releases.ReleaseStatus(status)
    throw new Error(said)
  }
  const makers = map(MAKERS, ([place, ...types]) => {
    const make = at(place, P, [...types, '_Out_ void **'])
    return (...args: unknown[]) => {
      const made: [Pointer] = [null]
      check(make(...args, made))
      return made[0]
    }
  })
  const actions = map(ACTIONS, ([place, ...types]) => {
    const act = at(place, P, types)
    return (...args: unknown[]) => check(act(...args))
  })
  const getters = map(GETTERS, ([place, result, ...types]) => at(place, result, types))
  const env = makers.CreateEnv(FATAL, 'fasp')
  return {
    ...makers,
    ...actions,
    ...getters,
    ...releases,
    env,
    memory: makers.CreateCpuMemoryInfo(DEVICE_ALLOCATOR, DEFAULT_MEMORY),
  }
}

/** Arguments for the dimensions and the type of a tensor. */
export function layoutOf(type: ElementType, shape: readonly number[]) {
  const dims = BigInt64Array.from(shape, BigInt)
  return [dims, dims.length, DATA_TYPES[type]] as const
}

/** A tensor over the array itself. */
export const tensorOf = (api: Api, data: Data, shape: readonly number[]): Pointer =>
  api.CreateTensorWithDataAsOrtValue(api.memory, data, data.byteLength, ...layoutOf(elementType(data), shape))

/** The allocator of a session's memory. @param name of the memory in ONNX Runtime */
export function allocatorOf(api: Api, session: Pointer, name: string): Pointer {
  const info = api.CreateMemoryInfo(name, DEVICE_ALLOCATOR, 0, DEFAULT_MEMORY)
  try {
    return api.CreateAllocator(session, info)
  } finally {
    api.ReleaseMemoryInfo(info)
  }
}

/** The library has nothing for this machine. */
export class NoDeviceError extends Error {}

/**
 * The device of a provider in a library of its own. A process registers the library once.
 * @param onCpu the CPU alone
 * @throws NoDeviceError where there is none, Error where the library cannot be loaded
 */
export function pluginDevice(api: Api, provider: string, library: string, onCpu: boolean): bigint {
  const find = () => {
    const [list, count]: [[Pointer], [number]] = [[null], [0]]
    api.GetEpDevices(api.env, list, count)
    return api
      .addresses(list[0], Number(count[0]))
      .find(
        d =>
          api.EpDevice_EpName(d) === provider &&
          api.GetKeyValue(api.EpDevice_EpMetadata(d), 'library_path') === library &&
          (!onCpu || api.HardwareDevice_Type(api.EpDevice_Device(d)) === CPU),
      )
  }
  const before = find()
  if (before) return before
  api.RegisterExecutionProviderLibrary(api.env, library, library)
  const device = find()
  if (device) return device
  api.UnregisterExecutionProviderLibrary(api.env, library)
  throw new NoDeviceError(`it has no ${provider} for ${onCpu ? 'this CPU' : 'a GPU that is here'}`)
}
