// The engine on `onnxruntime-node`, all platforms of that package, which is loaded, and fetched where it is missing, by the first one.
import { createRequire } from 'node:module'
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import type * as OnnxRuntime from 'onnxruntime-node'
import { DeviceError, UsageError } from '../base/errors.ts'
import { createEngine, type Engine, type EngineOptions, type Precision } from './engine.ts'
import type { EngineFacts } from './facts.ts'
import { chooseBlas } from './linalg/blas.node.ts'
import { nativeGraphs, nativeOn } from './native.node.ts'
import { openBf16 } from './openvino.node.ts'
import { roomOf } from './ort/memory.ts'
import { onnxRuntime, RUNTIME_VERSION } from './ort/package.node.ts'
import { providerOf } from './ort/provider-libraries.node.ts'
import { turnTelemetryOff } from './ort/telemetry.node.ts'

const silent = turnTelemetryOff()

/** Node keeps what was loaded. */
function loadRuntime(): typeof OnnxRuntime {
  const runtime: typeof OnnxRuntime = createRequire(import.meta.url)(onnxRuntime())
  runtime.env.logLevel = 'fatal' // what goes wrong before there is a session, too, reaches the user as an exception
  return runtime
}

/**
 * V8 marks garbage in one piece: weights and Gram matrices that come and go make it begin again and again, and while it marks little by
 * little, its threads take the cores from the engine's (bench/decisions.md). The flags hold at once, and for the whole process. The second
 * implies the first, but a little later: between the two V8 ends the process where a thread starts.
 */
export function markInOnePiece(): void {
  setFlagsFromString('--no-cppheap-concurrent-marking')
  setFlagsFromString('--no-incremental-marking')
}

/** `OMP_NUM_THREADS`, which numeric libraries share; undefined: one thread a physical core. */
const threadsByDefault = () => Number(process.env.OMP_NUM_THREADS) || undefined

/** More than any machine has; ONNX Runtime would start them all. */
const MAX_THREADS = 1024

/**
 * An engine on this machine's CPU or GPU, for several verbs. Close it to free its sessions.
 * @example
 * await using engine = openEngine({ threads: 4 })
 * const { perplexity: value } = await perplexity('my-model', 'wiki.test.txt', { engine })
 * @throws UsageError for threads, memory or libraries that make no sense, DeviceError where ONNX Runtime is missing and cannot be fetched
 */
export function openEngine(given: EngineOptions = {}): Engine {
  const options = { ...given, threads: given.threads ?? threadsByDefault() }
  const { device = 'cpu', threads = 1, deviceMemory, provider } = options
  if (!silent) throw new DeviceError(device, TELEMETRY)
  if (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS)
    throw new UsageError(`threads is ${threads}; it must be an integer from 1 to ${MAX_THREADS}.`)
  markInOnePiece()
  const runtime = loadRuntime()
  const own = providerOf(device, provider)
  const room = roomOf(deviceMemory)
  const there = own && nativeOn(own, RUNTIME_VERSION, room, options.threads)
  if (provider && !there) throw new UsageError(`provider ${provider} needs Linux and the package koffi.`)
  const graphs = own ? there : nativeGraphs(RUNTIME_VERSION, options.threads)
  return createEngine(runtime, options, {
    blas: chooseBlas(options),
    graphs,
    reduced: own ? there?.reduced : { bf16: () => openBf16(RUNTIME_VERSION, options.threads) },
    turn: () => setImmediate(),
    facts: {
      ...{ onnxruntime: RUNTIME_VERSION, graphs: graphs ? 'C interface' : 'binding' },
      deviceMemory: own && graphs && room,
    },
  })
}

/** What a result says of the engine; before a long part, refuses what this machine lacks. @throws UsageError as `openEngine`, and for products */
export function describeEngine(options: EngineOptions = {}, products?: Precision): EngineFacts {
  const engine = openEngine(options)
  try {
    return engine.inPrecision(products).facts
  } finally {
    void engine.close() // nothing was run on it
  }
}

const TELEMETRY =
  'ONNX Runtime would send telemetry from this worker. Set ORT_DISABLE_TELEMETRY=1 before node starts, start the worker with { env: SHARE_ENV }, or install koffi.'
