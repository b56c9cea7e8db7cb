// The engine on `onnxruntime-node`: CPU, all platforms of that package.
import * as runtime from 'onnxruntime-node'
import { createEngine, type Engine, type EngineOptions } from './engine.ts'

/** An engine on this machine's CPU. Close it to free its sessions. */
export const openEngine = (options?: EngineOptions): Engine => createEngine(runtime, options)
