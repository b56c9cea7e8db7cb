// The engine of the worker: ONNX Runtime on WebGPU where there is one, else in WebAssembly, fetched when asked for.
import type { Compute } from '../src/page/protocol.ts'
import { createEngine, type Engine, tryEngine } from '../src/web.ts'

export interface OpenedEngine {
  readonly engine: Engine
  /** For people. */
  readonly name: string
}

/** Beyond these more threads wait for each other (products of small models). */
const MAX_THREADS = 16
/** Messages, a stop among them, are read at least this often. */
const TURN_MS = 50

/** @param ort address of the folder with the runtime's WebAssembly @throws Error where WebGPU multiplies wrongly */
export async function openEngine(compute: Compute, ort: URL): Promise<OpenedEngine> {
  const gpu = compute === 'auto' && (await adapter())
  const wasm = await import('onnxruntime-web/wasm')
  const runtime = gpu ? await import('onnxruntime-web/webgpu') : wasm
  const threads = globalThis.crossOriginIsolated ? Math.min(MAX_THREADS, navigator.hardwareConcurrency || 1) : 1
  for (const { env } of [wasm, runtime]) {
    env.wasm.wasmPaths = ort.href
    env.wasm.numThreads = threads
    env.logLevel = 'error'
  }
  const engine = createEngine(
    runtime,
    { device: gpu ? 'webgpu' : 'cpu' },
    { turn: takeTurns(), facts: { onnxruntime: wasm.env.versions.web ?? 'unknown' }, doubles: wasm },
  )
  if (gpu)
    await tryEngine(engine).catch(async error => {
      await engine.close()
      throw error
    })
  return { engine, name: gpu ? 'WebGPU' : `WebAssembly, ${threads === 1 ? 'one thread' : `${threads} threads`}` }
}

/** TypeScript's types of the DOM have no WebGPU yet. */
interface Gpu {
  requestAdapter(): Promise<unknown>
}

const adapter = async (): Promise<boolean> => {
  const { gpu } = navigator as Navigator & { readonly gpu?: Gpu }
  return (await gpu?.requestAdapter().catch(() => null)) != null
}

/** Runs in WebAssembly end before anything else has its turn: between them messages get theirs. */
function takeTurns(): () => Promise<void> {
  const { port1, port2 } = new MessageChannel()
  let last = performance.now()
  return async () => {
    if (performance.now() - last < TURN_MS) return
    await new Promise(done => {
      port1.onmessage = done
      port2.postMessage(undefined)
    })
    last = performance.now()
  }
}
