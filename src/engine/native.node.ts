// Graphs on the CPU through ONNX Runtime's C interface, called through FFI (koffi). Results go where the caller wants them, and nowhere else:
// the binding of onnxruntime-node 1.30 copies each of them into a new array besides (bench/log.md).
import type { Graph } from '../formats/onnx.ts'
import { deviceError } from './device.ts'
import { type EngineParts, type Precision, SESSION_CONFIG } from './engine.ts'
import type { GraphRuntime } from './graph-runtime.ts'
import { type Arrays, apart, type Place } from './ort/aliasing.ts'
import { attentionFeeds, attentionGraph, attentionIsRight } from './ort/attention.ts'
import { type Api, FATAL, onnxRuntimeC, type Pointer, pluginDevice, tensorOf } from './ort/c.node.ts'
import { faultingRuns, NativeTensors } from './ort/memory.node.ts'
import { DeviceMemory, hereOf } from './ort/memory.ts'
import type { DeviceProvider } from './ort/providers.node.ts'
import { type Values, values } from './values.ts'

/** An execution provider in a library of its own, on the CPU. */
export interface Plugin {
  /** What it says of itself. */
  about(key: string): string | undefined
  /** Opens graphs; it takes what it can of them. @param whole refuse those of which it leaves a part */
  graphs(options: Readonly<Record<string, string>>, threads?: number, whole?: boolean): GraphRuntime
}

/** For the threads of a session; see `flushing`. */
const FLUSH_CONFIG = { 'session.set_denormal_as_zero': '1' } as const

/**
 * Opens graphs with the library that onnxruntime-node brings. Undefined where it cannot be called: not on Linux, without koffi, or where the
 * library is of another version; and where FASP_GRAPHS=binding asks for the binding.
 */
export function nativeGraphs(version: string, threads?: number): GraphRuntime | undefined {
  const api = apiOf(version)
  return api && graphRuntime(api, threads)
}

/** Graphs on a device, and there in products of fewer digits, with one memory. */
type DeviceGraphs = GraphRuntime & Pick<EngineParts, 'reduced'>

/**
 * The same on a device with a memory of its own, in which constants and rows stay.
 * @param room bytes of that memory
 */
export function nativeOn(
  device: DeviceProvider,
  version: string,
  room: number,
  threads?: number,
): DeviceGraphs | undefined {
  const host = apiOf(version, device.library)
  const api = faultingRuns(host, device.device)
  if (!api) return undefined
  const provider = (precision: Precision = 'float32'): Provider => ({
    append: (options, graph) => void (graph.isDouble || device.append(api, options, graph, precision)),
  })
  let isRight: boolean | undefined
  const tryAttention = () => {
    const session = openSession(api, attentionGraph(), threads, provider())
    const h = values(new Float32Array(attentionFeeds.q.data.length), attentionFeeds.q.shape)
    try {
      run(api, session, attentionFeeds, { h })
      return h.data
    } finally {
      api.ReleaseSession(session)
    }
  }
  const attention = () => (isRight ??= memory.timed('trial', () => attentionIsRight(tryAttention)))
  const openThere = (graph: Graph) => {
    try {
      return openSession(api, graph, threads, provider())
    } catch (cause) {
      throw deviceError(device.device, cause)
    }
  }
  const memory = new DeviceMemory(new NativeTensors(api, device.memory, openThere), room)
  const graphsIn = (precision?: Precision) => graphRuntime(api, threads, { ...provider(precision), memory, host })
  const { reduced } = device
  const beside = () => ({ graphs: { ...graphsIn(reduced), close() {} } }) // the memory is closed once
  return { ...graphsIn(), attention, reduced: reduced && { [reduced]: beside } }
}

const apiOf = (version: string, library?: string) =>
  process.env.FASP_GRAPHS === 'binding' ? undefined : onnxRuntimeC(version, library)

/** Undefined where graphs cannot be opened natively. @throws NoDeviceError, or Error where the library cannot be used */
export function nativePlugin(version: string, provider: string, library: string): Plugin | undefined {
  const api = apiOf(version)
  if (!api) return undefined
  const device = pluginDevice(api, provider, library, true)
  return {
    about: key => (api.GetKeyValue(api.EpDevice_EpMetadata(device), key) as string | null) ?? undefined,
    graphs: (options, threads, whole = false) => graphRuntime(api, threads, pluginOf(api, device, options, whole)),
  }
}

const pluginOf = (api: Api, device: bigint, options: Readonly<Record<string, string>>, whole: boolean): Provider => ({
  append(to) {
    const [keys, texts] = [Object.keys(options), Object.values(options)]
    const devices = BigUint64Array.of(device)
    api.SessionOptionsAppendExecutionProvider_V2(to, api.env, devices, 1, keys, texts, keys.length)
    if (whole) api.AddSessionConfigEntry(to, 'session.disable_cpu_ep_fallback', '1')
  },
  place: apart(),
})

/** Where the graphs of a session go first, if not to ONNX Runtime's own kernels for the CPU. */
interface Provider {
  /** Puts it into the options of a session. */
  append(options: Pointer, graph: Graph): void
  /** Where results that would overwrite an input go. @default in place */
  readonly place?: Place
  /** Its own. */
  readonly memory?: DeviceMemory<Pointer>
  /** Where graphs in float64 run, at whose faults the device is not. */
  readonly host?: Api
}

function graphRuntime(api: Api, threads?: number, provider?: Provider): GraphRuntime {
  const { memory, place = (feeds, outputs, then) => then(feeds, outputs) }: Partial<Provider> = provider ?? {}
  return {
    moved: memory?.moved,
    seconds: memory?.seconds,
    array: memory?.array,
    close: () => memory?.close(),
    async open(graph) {
      const session = openSession(api, graph, threads, provider)
      const by = (graph.isDouble && provider?.host) || api
      return {
        run: async (feeds, outputs) => place(feeds, outputs, (...placed) => run(by, session, ...placed, memory)),
        close: async () => api.ReleaseSession(session),
      }
    },
  }
}

function openSession(api: Api, graph: Graph, threads?: number, provider?: Provider): Pointer {
  const options = api.CreateSessionOptions()
  try {
    api.SetSessionLogSeverityLevel(options, FATAL)
    if (threads) api.SetIntraOpNumThreads(options, threads)
    for (const [key, value] of Object.entries({ ...SESSION_CONFIG, ...FLUSH_CONFIG }))
      api.AddSessionConfigEntry(options, key, value)
    provider?.append(options, graph)
    const bytes = graph.bytes()
    // Making the first session of a process flushes numbers on this thread for good.
    return api.flushing(() => api.CreateSessionFromArray(api.env, bytes, bytes.length, options))
  } finally {
    api.ReleaseSessionOptions(options)
  }
}

/** Blocks until it is done. */
function run(api: Api, session: Pointer, feeds: Arrays, outputs: Arrays, memory?: DeviceMemory<Pointer>): void {
  const tensors: Pointer[] = []
  /** Those of arrays that are not there yet have the arrays' own values. */
  const pointers = (arrays: readonly Values[], there: readonly (Pointer | undefined)[]): BigUint64Array =>
    BigUint64Array.from(arrays, (array, i) => {
      if (there[i]) return there[i] as bigint
      tensors.push(tensorOf(api, hereOf(array, memory), array.shape))
      return tensors.at(-1) as bigint
    })
  const [inputs, results] = [Object.values(feeds), Object.values(outputs)]
  const [inputNames, resultNames] = [Object.keys(feeds), Object.keys(outputs)]
  const call = (given: readonly (Pointer | undefined)[], made: readonly (Pointer | undefined)[]) => {
    const [from, to] = [pointers(inputs, given), pointers(results, made)]
    api.flushing(() => api.Run(session, null, inputNames, from, from.length, resultNames, to.length, to))
  }
  try {
    if (memory) memory.use(inputs, results, call)
    else call([], [])
  } finally {
    for (const t of tensors) api.ReleaseValue(t)
  }
}
