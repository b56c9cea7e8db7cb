// The engine on `onnxruntime-node`. The first engine of a process loads the package, and fetches it where it is
// missing.
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
  runtime.env.logLevel = 'fatal' // failures before the first session reach the user as exceptions, too
  return runtime
}

/**
 * Makes V8 mark garbage in one piece. Weights and Gram matrices that come and go make it mark again and again, and
 * threads that mark little by little keep cores from the engine (bench/decisions.md). The flags hold at once, for the
 * whole process. The second implies the first, but a little later: V8 ends the process if a thread starts in between.
 */
export function markInOnePiece(): void {
  setFlagsFromString('--no-cppheap-concurrent-marking')
  setFlagsFromString('--no-incremental-marking')
}

/** `OMP_NUM_THREADS`, which numeric libraries share; undefined: one thread a physical core. */
const threadsByDefault = () => Number(process.env.OMP_NUM_THREADS) || undefined

/** More than any machine has: ONNX Runtime would start them all. */
const MAX_THREADS = 1024

/**
 * Opens an engine on this machine's CPU or GPU, for several verbs. Closing it frees its sessions.
 * @example
 * await using engine = openEngine({ threads: 4 })
 * const { perplexity: value } = await perplexity('my-model', 'wiki.test.txt', { engine })
 * @throws UsageError for impossible threads, memory or libraries; DeviceError where ONNX Runtime is missing and cannot
 * be fetched
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

/** What a result says of the engine. @throws UsageError as `openEngine`, and for products that this machine lacks */
export function describeEngine(options: EngineOptions = {}, products?: Precision): EngineFacts {
  const engine = openEngine(options)
  try {
    return engine.inPrecision(products).facts
  } finally {
    void engine.close() // nothing was run on it
  }
}

const TELEMETRY =
  'ONNX Runtime would send telemetry from this worker. Set ORT_DISABLE_TELEMETRY=1 before node starts, start the ' +
  'worker with { env: SHARE_ENV }, or install koffi.'
