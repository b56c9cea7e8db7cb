// Graphs through ONNX Runtime's C interface, called through FFI (koffi). Results go into the caller's arrays at once:
// the binding of onnxruntime-node 1.30 copies each of them through a new array (bench/log.md).
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
  /** A fact that the library tells. */
  about(key: string): string | undefined
  /** Opens graphs. @param whole refuses graphs of which it would leave a part to the CPU */
  graphs(options: Readonly<Record<string, string>>, threads?: number, whole?: boolean): GraphRuntime
}

/** As `flushing`, for the threads of a session. */
const FLUSH_CONFIG = { 'session.set_denormal_as_zero': '1' } as const

/**
 * Opens graphs with the library of onnxruntime-node. Undefined where it cannot be called (outside Linux, without koffi,
 * or where the library has another version), and where FASP_GRAPHS=binding asks for the binding.
 */
export function nativeGraphs(version: string, threads?: number): GraphRuntime | undefined {
  const api = apiOf(version)
  return api && graphRuntime(api, threads)
}

/** Graphs on a device, some with products of fewer digits, in one memory. */
type DeviceGraphs = GraphRuntime & Pick<EngineParts, 'reduced'>

/** Graphs on a device, in whose memory constants and rows stay. @param room bytes of the memory */
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
  const tryAttention = (on: 'device' | 'cpu') => {
    const session = openSession(api, attentionGraph(), threads, on === 'device' ? provider() : undefined)
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
  const beside = () => ({ graphs: { ...graphsIn(reduced), close() {} } }) // closing the other graphs closes the memory
  return { ...graphsIn(), attention, reduced: reduced && { [reduced]: beside } }
}

const apiOf = (version: string, library?: string) =>
  process.env.FASP_GRAPHS === 'binding' ? undefined : onnxRuntimeC(version, library)

/** Undefined as `nativeGraphs`. @throws NoDeviceError, or Error where the library cannot be loaded */
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

/** An execution provider that comes before ONNX Runtime's kernels for the CPU. */
interface Provider {
  /** Adds it to the options of a session. */
  append(options: Pointer, graph: Graph): void
  /** Gives results that would overwrite an input another place. @default in place */
  readonly place?: Place
  readonly memory?: DeviceMemory<Pointer>
  /** Runs graphs in float64, whose failures are no faults of the device. */
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

/** Blocks until the run has ended. */
function run(api: Api, session: Pointer, feeds: Arrays, outputs: Arrays, memory?: DeviceMemory<Pointer>): void {
  const tensors: Pointer[] = []
  /** Tensors on the device, or over the arrays where the device has none. */
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
