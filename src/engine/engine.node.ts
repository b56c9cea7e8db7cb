// The engine on `onnxruntime-node`, all platforms of that package.
import { createRequire } from 'node:module'
import { setImmediate } from 'node:timers/promises'
import type * as OnnxRuntime from 'onnxruntime-node'
import { DeviceError, UsageError } from '../errors.ts'
import { chooseBlas } from './blas.node.ts'
import { createEngine, type Engine, type EngineOptions, type Precision } from './engine.ts'
import type { EngineFacts } from './facts.ts'
import { nativeGraphs } from './native.node.ts'
import { openOpenVino } from './openvino.node.ts'
import { turnTelemetryOff } from './telemetry.node.ts'

const silent = turnTelemetryOff()
const runtime: typeof OnnxRuntime = createRequire(import.meta.url)('onnxruntime-node') // after that, which an import would not wait for
runtime.env.logLevel = 'fatal' // what goes wrong before there is a session, too, reaches the user as an exception

/** More than any machine has; ONNX Runtime would start them all. */
const MAX_THREADS = 1024

/** An engine on this machine's CPU or GPU. Close it to free its sessions. @throws UsageError for threads or libraries that make no sense */
export function openEngine(options: EngineOptions = {}): Engine {
  const { device = 'cpu', threads = 1 } = options
  if (!silent) throw new DeviceError(device, TELEMETRY)
  if (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS)
    throw new UsageError(`threads is ${threads}; it must be an integer from 1 to ${MAX_THREADS}.`)
  const graphs = device === 'cpu' ? nativeGraphs(runtimeVersion, options.threads) : undefined
  const way = device === 'cpu' ? { graphs: graphs ? 'C interface' : 'binding' } : {}
  return createEngine(runtime, options, {
    blas: chooseBlas(options),
    graphs,
    bf16: device === 'cpu' ? openBf16 : undefined,
    turn: () => setImmediate(),
    facts: { onnxruntime: runtimeVersion, ...way },
  })

  function openBf16() {
    const { name, graphs } = openOpenVino(runtimeVersion)
    return { name, graphs: graphs(options.threads) }
  }
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

/** The version of ONNX Runtime. */
export const runtimeVersion: string = runtime.env.versions.node ?? 'unknown'
