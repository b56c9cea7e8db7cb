// The engine on `onnxruntime-node`, all platforms of that package.
import * as runtime from 'onnxruntime-node'
import { UsageError } from '../errors.ts'
import { createEngine, type Engine, type EngineOptions } from './engine.ts'

runtime.env.logLevel = 'fatal' // what goes wrong before there is a session, too, reaches the user as an exception

/** More than any machine has; ONNX Runtime would start them all. */
const MAX_THREADS = 1024

/** An engine on this machine's CPU or GPU. Close it to free its sessions. @throws UsageError for a number of threads that makes no sense */
export function openEngine(options: EngineOptions = {}): Engine {
  const { threads = 1 } = options
  if (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS)
    throw new UsageError(`threads is ${threads}; it must be an integer from 1 to ${MAX_THREADS}.`)
  return createEngine(runtime, options)
}

/** The version of ONNX Runtime. */
export const runtimeVersion: string = runtime.env.versions.node ?? 'unknown'
