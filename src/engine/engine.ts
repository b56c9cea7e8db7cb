// ONNX Runtime behind a small interface: sessions made from graphs and kept by name, runs over typed arrays.
// The same API is in onnxruntime-node and onnxruntime-web; `engine.node.ts` brings the former.
import type { InferenceSession, Tensor, TensorConstructor } from 'onnxruntime-common'
import { UsageError } from '../errors.ts'
import type { Graph } from '../formats/onnx.ts'
import type { Blas } from './blas.ts'
import { checkDevice, type Device, deviceError, providers } from './device.ts'
import { elementType, type GraphRuntime, type Values } from './graph-runtime.ts'
import { Sessions } from './sessions.ts'

export { type Values, values } from './graph-runtime.ts'

/** What the engine uses of an ONNX Runtime package. */
export interface Runtime {
  readonly Tensor: TensorConstructor
  readonly InferenceSession: {
    create(model: Uint8Array | string, options?: InferenceSession.SessionOptions): Promise<InferenceSession>
  }
}

/** Threads wait awake for as long as the gaps between the operators of a run; longer, and they would take the cores from other programs. */
export const SESSION_CONFIG = {
  'session.intra_op.allow_spinning': '1',
  'session.intra_op.spin_duration_us': '100',
} as const

/** Of matrix products. */
export const PRECISIONS = ['float32', 'bf16'] as const

export type Precision = (typeof PRECISIONS)[number]

export type Feeds = Readonly<Record<string, Values | undefined>>

export interface Engine extends AsyncDisposable {
  readonly device: Device
  /**
   * Runs a graph. Its session is made on first use and kept under `key`, so `key` must name all that `build` depends on;
   * its first word is the kind that `seconds` counts under.
   * @param outputs where each result goes; a result may overwrite an input of the same shape
   */
  run(key: string, build: () => Graph, feeds: Feeds, outputs: Readonly<Record<string, Values>>): Promise<void>
  /**
   * Opens a whole model as a file has it, on the CPU.
   * @param model its path, or its bytes @param external bytes of its external data by their location, where there is no path
   */
  open(model: string | Uint8Array, external?: ReadonlyMap<string, Uint8Array>): Promise<OpenModel>
  /** A library for products, factorisations and solves outside graphs, where one is in use. */
  readonly blas?: Blas
  /**
   * The engine for the graphs of half-blocks: this one, or in bf16 OpenVINO's, without a BLAS. What graphs take and give is float32 in either.
   * @throws UsageError where it has no such products @default 'float32'
   */
  inPrecision(precision?: Precision): Engine
  /** What graphs multiply in. */
  readonly precision: Precision
  /** Makes a call of `blas`, which blocks. Its seconds count under `kind`. */
  timed<T>(kind: string, call: () => T): Promise<T>
  /** Seconds spent in runs and calls so far, by the first word of their keys. */
  readonly seconds: Readonly<Record<string, number>>
  /** Frees the sessions of graphs once those that run have ended; `run` throws after it. Leaving `await using` does the same. */
  close(): Promise<void>
}

/** What an engine may have beside its runtime. */
export interface EngineParts {
  readonly blas?: Blas
  /** Opens graphs whose products are in bf16. @throws UsageError where it cannot */
  readonly bf16?: () => GraphRuntime
  readonly graphs?: GraphRuntime
  /** Lets what waits for input and output have its turn: runs and calls may block. */
  readonly turn?: () => Promise<void>
}

/** A model with its own weights. */
export interface OpenModel {
  readonly inputs: readonly InferenceSession.ValueMetadata[]
  /** @param feeds values, or results of an earlier run (a KV cache) */
  run(feeds: Readonly<Record<string, Values | Tensor>>): Promise<Readonly<Record<string, Tensor>>>
  close(): Promise<void>
}

export interface EngineOptions {
  /** Where the graphs run; what a GPU's provider has no kernel for runs on the CPU. @default 'cpu' */
  readonly device?: Device
  /** Threads of one operator. @default one for each physical core */
  readonly threads?: number
  /**
   * In Node, on the CPU: a library with BLAS and LAPACK that takes over Gram matrices, solves and other products outside graphs. Its path,
   * its name where the system's loader finds it, or `auto`, which looks for one (docs/devices.md). @default none
   */
  readonly blas?: string
}

export function createEngine(runtime: Runtime, options: EngineOptions = {}, parts: EngineParts = {}): Engine {
  const { device = 'cpu' } = options
  checkDevice(device)
  const settings = {
    ...(options.threads ? { intraOpNumThreads: options.threads } : {}),
    logSeverityLevel: 4, // failures reach the user as exceptions
    extra: SESSION_CONFIG,
  } as const
  const sessions = new Sessions(parts.graphs ?? graphsOf(runtime, device, settings))
  let bf16: Sessions | undefined
  let closed = false
  const seconds: Record<string, number> = {}
  const count = (kind: string, since: number) => {
    seconds[kind] = (seconds[kind] ?? 0) + (performance.now() - since) / 1000
  }
  const runIn =
    (kept: Sessions): Engine['run'] =>
    (key, build, feeds, outputs) => {
      const given = Object.entries(feeds).filter((entry): entry is [string, Values] => entry[1] !== undefined)
      return kept.use(key, build, async session => {
        await parts.turn?.()
        const started = performance.now()
        await session.run(Object.fromEntries(given), outputs)
        count(key.split(' ', 1)[0], started)
      })
    }
  const engine: Engine = {
    device,
    precision: 'float32',
    blas: parts.blas,
    seconds,
    run: runIn(sessions),
    inPrecision(precision = 'float32') {
      if (precision === 'float32') return engine
      if (!parts.bf16)
        throw new UsageError(
          `OpenVINO, from which products in bf16 come, runs on the CPU in Node only (device is ${device}).`,
        )
      if (closed) throw new Error('The engine is closed.')
      bf16 ??= new Sessions(parts.bf16())
      return { ...engine, run: runIn(bf16), precision, blas: undefined }
    },
    async timed(kind, call) {
      await parts.turn?.()
      const started = performance.now()
      const result = call()
      count(kind, started)
      return result
    },
    async open(model, external) {
      const externalData = external && [...external].map(([path, data]) => ({ path, data }))
      const session = await runtime.InferenceSession.create(model, {
        ...settings,
        executionProviders: ['cpu'],
        ...(externalData ? { externalData } : {}),
      })
      return {
        inputs: session.inputMetadata,
        run: feeds =>
          session.run(
            Object.fromEntries(Object.entries(feeds).map(([name, v]) => [name, 'shape' in v ? tensor(runtime, v) : v])),
          ),
        close: () => session.release(),
      }
    },
    async close() {
      closed = true
      await Promise.all([sessions, bf16].map(kept => kept?.close()))
    },
    [Symbol.asyncDispose]: () => engine.close(),
  }
  return engine
}

/** Graphs as sessions of the runtime. */
function graphsOf(runtime: Runtime, device: Device, settings: InferenceSession.SessionOptions): GraphRuntime {
  const tensors = (arrays: Readonly<Record<string, Values>>) =>
    Object.fromEntries(Object.entries(arrays).map(([name, a]) => [name, tensor(runtime, a)]))
  return {
    async open(graph) {
      const executionProviders = providers(device, graph)
      const session = await runtime.InferenceSession.create(graph.bytes(), { ...settings, executionProviders }).catch(
        cause => {
          throw device === 'cpu' ? cause : deviceError(device, cause)
        },
      )
      return {
        run: async (feeds, outputs) => void (await session.run(tensors(feeds), tensors(outputs))),
        close: () => session.release(),
      }
    },
  }
}

/** Of Tensor's signatures TypeScript has one for each type, and none for all of them. */
function tensor({ Tensor }: Runtime, { data, shape }: Values): Tensor {
  return new Tensor(elementType(data) as 'float32', data as Float32Array, shape)
}
