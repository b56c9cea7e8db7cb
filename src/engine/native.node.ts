// Graphs on the CPU through ONNX Runtime's C interface, called through FFI (koffi). Results go where the caller wants them, and nowhere else:
// the binding of onnxruntime-node 1.30 copies each of them into a new array besides (docs/log.md).
// Source: onnxruntime_c_api.h. Its table of functions only grows at the end, so that places in it hold for all versions.
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import type * as Koffi from 'koffi'
import { DATA_TYPES, type ElementType } from '../formats/onnx.ts'
import { elementType, type GraphRuntime, SESSION_CONFIG, type Values } from './engine.ts'

/** The version of the interface: that of ONNX Runtime 1.14. Later ones have it, too. */
const API_VERSION = 14
const [FATAL, DEVICE_ALLOCATOR, DEFAULT_MEMORY] = [4, 0, 0]

/** Place in the table, type of the result, types of the arguments. Most return a status: null, or an error. */
const FUNCTIONS = {
  GetErrorMessage: [2, 'const char *', ['void *']],
  CreateEnv: [3, 'void *', ['int', 'const char *', '_Out_ void **']],
  CreateSessionFromArray: [8, 'void *', ['void *', 'void *', 'size_t', 'void *', '_Out_ void **']],
  Run: [9, 'void *', ['void *', 'void *', 'const char **', 'void *', 'size_t', 'const char **', 'size_t', 'void *']],
  CreateSessionOptions: [10, 'void *', ['_Out_ void **']],
  SetSessionLogSeverityLevel: [22, 'void *', ['void *', 'int']],
  SetIntraOpNumThreads: [24, 'void *', ['void *', 'int']],
  CreateTensorWithDataAsOrtValue: [
    49,
    'void *',
    ['void *', 'void *', 'size_t', 'void *', 'size_t', 'int', '_Out_ void **'],
  ],
  CreateCpuMemoryInfo: [69, 'void *', ['int', 'int', '_Out_ void **']],
  ReleaseStatus: [93, 'void', ['void *']],
  ReleaseSession: [95, 'void', ['void *']],
  ReleaseValue: [96, 'void', ['void *']],
  ReleaseSessionOptions: [100, 'void', ['void *']],
  AddSessionConfigEntry: [130, 'void *', ['void *', 'const char *', 'const char *']],
} as const

type Pointer = bigint | null
type Call = (...args: unknown[]) => Pointer
type Api = Record<keyof typeof FUNCTIONS, Call> & { readonly env: Pointer; readonly memory: Pointer }

/** By version, once each was looked for. */
const opened = new Map<string, Api | undefined>()

/**
 * Opens graphs with the library that onnxruntime-node brings. Undefined where it cannot be called: not on Linux, without koffi, or where the
 * library is of another version.
 */
export function nativeGraphs(version: string, threads?: number): GraphRuntime | undefined {
  if (!opened.has(version)) opened.set(version, open(version))
  const api = opened.get(version)
  return api && graphRuntime(api, threads)
}

function open(version: string): Api | undefined {
  if (process.platform !== 'linux') return undefined
  try {
    const require = createRequire(import.meta.url)
    const koffi: typeof Koffi = require('koffi')
    const folder = join(dirname(require.resolve('onnxruntime-node')), '..', 'bin', 'napi-v6', 'linux', process.arch)
    const base = koffi.load(join(folder, 'libonnxruntime.so.1')).func('void *OrtGetApiBase()')()
    const decode = (table: Pointer, place: number, result: string, args: readonly string[]): Call =>
      koffi.decode(koffi.decode(table, place * koffi.sizeof('void *'), 'void *'), koffi.proto(result, [...args]))
    if (decode(base, 1, 'const char *', [])() !== (version as unknown)) return undefined
    const table = decode(base, 0, 'void *', ['uint32_t'])(API_VERSION)
    const entries = Object.entries(FUNCTIONS).map(([name, [place, result, args]]) => [
      name,
      decode(table, place, result, args),
    ])
    const functions = Object.fromEntries(entries) as Record<keyof typeof FUNCTIONS, Call>
    const env = made(functions, out => functions.CreateEnv(FATAL, 'fasp', out))
    const memory = made(functions, out => functions.CreateCpuMemoryInfo(DEVICE_ALLOCATOR, DEFAULT_MEMORY, out))
    return { ...functions, env, memory }
  } catch {
    return undefined
  }
}

function graphRuntime(api: Api, threads?: number): GraphRuntime {
  const check = (status: Pointer) => throwWhereFailed(api, status)
  return {
    async open(graph) {
      const options = made(api, out => api.CreateSessionOptions(out))
      try {
        check(api.SetSessionLogSeverityLevel(options, FATAL))
        if (threads) check(api.SetIntraOpNumThreads(options, threads))
        for (const [key, value] of Object.entries(SESSION_CONFIG)) check(api.AddSessionConfigEntry(options, key, value))
        const bytes = graph.bytes()
        const session = made(api, out => api.CreateSessionFromArray(api.env, bytes, bytes.length, options, out))
        return {
          run: async (feeds, outputs) => run(api, session, feeds, outputs),
          close: async () => void api.ReleaseSession(session),
        }
      } finally {
        api.ReleaseSessionOptions(options)
      }
    },
  }
}

/** Blocks until it is done, once what waits for input and output has had its turn. */
async function run(api: Api, session: Pointer, feeds: Arrays, outputs: Arrays): Promise<void> {
  await new Promise(resolve => setImmediate(resolve))
  const tensors: Pointer[] = []
  const pointers = (arrays: Arrays): BigUint64Array => {
    const made = Object.values(arrays).map(a => tensor(api, a))
    tensors.push(...made)
    return BigUint64Array.from(made as bigint[])
  }
  try {
    const [inputs, results] = [pointers(feeds), pointers(outputs)]
    const names = [Object.keys(feeds), Object.keys(outputs)]
    const status = api.Run(session, null, names[0], inputs, inputs.length, names[1], results.length, results)
    throwWhereFailed(api, status)
  } finally {
    for (const t of tensors) api.ReleaseValue(t)
  }
}

type Arrays = Readonly<Record<string, Values>>

/** A tensor whose values are those of the array itself. */
function tensor(api: Api, { data, shape }: Values): Pointer {
  const dims = BigInt64Array.from(shape, BigInt)
  const type = DATA_TYPES[elementType(data) satisfies ElementType]
  return made(api, out =>
    api.CreateTensorWithDataAsOrtValue(api.memory, data, data.byteLength, dims, dims.length, type, out),
  )
}

/** What a function makes and returns by its last argument. */
function made(api: Pick<Api, 'GetErrorMessage' | 'ReleaseStatus'>, make: (out: [Pointer]) => Pointer): Pointer {
  const out: [Pointer] = [null]
  throwWhereFailed(api, make(out))
  return out[0]
}

function throwWhereFailed(api: Pick<Api, 'GetErrorMessage' | 'ReleaseStatus'>, status: Pointer): void {
  if (status === null) return
  const message = String(api.GetErrorMessage(status))
  api.ReleaseStatus(status)
  throw new Error(message)
}
