// ONNX Runtime behind a small interface: sessions made from graphs and kept by name, runs over typed arrays.
// The same API is in onnxruntime-node and onnxruntime-web; `engine.node.ts` brings the former.
import type { InferenceSession, Tensor as OrtTensor, TensorConstructor } from 'onnxruntime-common'
import { UsageError } from '../base/errors.ts'
import { type Data, elementType } from '../formats/onnx.ts'
import { checkDevice, type Device, type Dialect, deviceError, dialectOf, providers } from './device.ts'
import type { EngineFacts } from './facts.ts'
import type { GraphRuntime, Run } from './graph-runtime.ts'
import { graphLinalg } from './linalg/graphs.ts'
import type { Library, Linalg, Timed } from './linalg/linalg.ts'
import { GraphSum } from './linalg/syrk.ts'
import type { EngineOptions } from './options.ts'
import { faulting } from './ort/faults.ts'
import { countingMemory, type DeviceMemory, hereOf } from './ort/memory.ts'
import { Sessions } from './sessions.ts'
import { type ArrayOf, constant, inMemory, type Moved, type Tensor, type Values } from './values.ts'

export type { Feeds } from './graph-runtime.ts'
export type { EngineOptions } from './options.ts'
export {
  asValues,
  constant,
  copyRows,
  hostOf,
  type Moved,
  type Rows,
  type Tensor,
  type Values,
  values,
} from './values.ts'

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
export const PRECISIONS = ['float32', 'bf16', 'tf32'] as const

export type Precision = (typeof PRECISIONS)[number]

export interface Engine extends AsyncDisposable {
  readonly run: Run
  /** Hands values over for many runs, as a constant: a GPU has an array once, whoever asks. On the CPU nothing is copied. */
  tensor(data: Data, shape: readonly number[]): Tensor
  /** On the CPU the array itself. */
  readonly array: ArrayOf
  /** What graphs are made of. */
  readonly dialect: Dialect
  /** Products, factorisations and solves outside graphs. */
  readonly linalg: Linalg
  /**
   * Opens a whole model as a file has it, on the CPU.
   * @param model its path, or its bytes @param external bytes of its external data by their location, where there is no path
   */
  open(model: string | Uint8Array, external?: ReadonlyMap<string, Uint8Array>): Promise<OpenModel>
  /**
   * The engine for the graphs of half-blocks and their Gram matrices: this one, in bf16 OpenVINO's, in tf32 CUDA's. What graphs take and give
   * is float32 in all. @throws UsageError where it has no such products @default 'float32'
   */
  inPrecision(precision?: Precision): Engine
  /** What a result says of it. */
  readonly facts: EngineFacts
  /** So far, on a device with a memory of its own. */
  readonly moved?: Moved
  /** Seconds spent in runs and calls so far, by the first word of their keys. */
  readonly seconds: Readonly<Record<string, number>>
  /** Frees the sessions of graphs once those that run have ended; `run` throws after it. Leaving `await using` does the same. */
  close(): Promise<void>
}

/** What an engine may have beside its runtime. */
export interface EngineParts {
  readonly blas?: Library
  /** Opens graphs whose products are of fewer digits: a device has one such precision at most. @throws UsageError where it cannot */
  readonly reduced?: { readonly [P in Precision]?: () => Reduced }
  readonly graphs?: GraphRuntime
  /** Of the device of the runtime, where that gives tensors in it to hold. */
  readonly memory?: DeviceMemory<OrtTensor>
  /** For graphs in float64, where the runtime itself has none. */
  readonly doubles?: Runtime
  /** Lets what waits for input and output have its turn: runs and calls may block. */
  readonly turn?: () => Promise<void>
  /** What results say of the runtime. */
  readonly facts?: Partial<EngineFacts>
}

/** Graphs whose operands are rounded; products add up in float32. */
export interface Reduced {
  readonly graphs: GraphRuntime
  readonly dialect?: Partial<Dialect>
  readonly facts?: Partial<EngineFacts>
  /** Where they round what they add to as well: Gram matrices are made so, with triangles of this size, and added up in float32. */
  readonly triangle?: number
}

/** A model with its own weights. */
export interface OpenModel {
  readonly inputs: readonly InferenceSession.ValueMetadata[]
  /** @param feeds values, or results of an earlier run (a KV cache) */
  run(feeds: Readonly<Record<string, Values | OrtTensor>>): Promise<Readonly<Record<string, OrtTensor>>>
  close(): Promise<void>
}

/** What else than float32 products are. */
const ONLY = {
  bf16: 'OpenVINO’s, on the CPU in Node only',
  tf32: 'an NVIDIA GPU’s by --device cuda, in Node on Linux with the package koffi only',
}

export function createEngine(runtime: Runtime, options: EngineOptions = {}, parts: EngineParts = {}): Engine {
  const { device = 'cpu' } = options
  checkDevice(device)
  const settings = {
    ...(options.threads ? { intraOpNumThreads: options.threads } : {}),
    logSeverityLevel: 4, // failures reach the user as exceptions
    extra: SESSION_CONFIG,
  } as const
  const sessions = new Sessions(onDevice(device, parts.graphs ?? graphsOf(runtime, device, settings, parts)))
  let reduced: (Reduced & { readonly sessions: Sessions }) | undefined
  let closed = false
  const seconds = sessions.graphs.seconds ?? {}
  const count = (kind: string, since: number) => {
    seconds[kind] = (seconds[kind] ?? 0) + (performance.now() - since) / 1000
  }
  const timed: Timed = async (kind, call) => {
    await parts.turn?.()
    const started = performance.now()
    const result = await call()
    count(kind, started)
    return result
  }
  const runIn =
    (kept: Sessions): Run =>
    (key, build, feeds, outputs) => {
      const given = Object.entries(feeds).filter(entry => entry[1] !== undefined)
      const arrays = [Object.fromEntries(given), outputs] as Record<string, Values>[] // as `tensor` and `empty` make them
      return kept.use(key, build, session => timed(key.split(' ', 1)[0], () => session.run(arrays[0], arrays[1])))
    }
  const run = runIn(sessions)
  const handles = new WeakMap<Data, Values>()
  const graphs = graphLinalg(run, sessions.graphs.array)
  const engine: Engine = {
    run,
    tensor(data, shape) {
      const known = handles.get(data)
      if (known?.shape.length === shape.length && shape.every((n, axis) => n === known.shape[axis])) return known
      const handle = constant(data, shape)
      handles.set(data, handle)
      return handle
    },
    array: sessions.graphs.array ?? inMemory,
    get dialect() {
      return dialectOf(device, parts.blas ? 'product' : 'graph', sessions.graphs.attention?.())
    },
    linalg: parts.blas?.linalg(timed, graphs) ?? graphs,
    facts: { onnxruntime: 'unknown', ...parts.facts, device, threads: options.threads, blas: parts.blas?.name },
    seconds,
    moved: sessions.graphs.moved,
    inPrecision(precision = 'float32') {
      if (precision === 'float32') return engine
      const open = parts.reduced?.[precision]
      if (!open) throw new UsageError(`Products in ${precision} are ${ONLY[precision]} (device is ${device}).`)
      if (closed) throw new Error('The engine is closed.')
      if (!reduced) {
        const opened = open()
        reduced = { ...opened, sessions: new Sessions(onDevice(device, opened.graphs)) }
      }
      const products = runIn(reduced.sessions)
      const { triangle } = reduced
      const syrk: Linalg['syrk'] = (n, kind) =>
        new GraphSum(n, kind, products, triangle ? { triangle, run } : undefined, engine.array)
      return {
        ...engine,
        run: products,
        dialect: { ...engine.dialect, ...reduced.dialect },
        linalg: { ...engine.linalg, syrk },
        facts: { ...engine.facts, ...reduced.facts },
      }
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
      await reduced?.sessions.close()
      await sessions.close() // with the memory of both
    },
    [Symbol.asyncDispose]: () => engine.close(),
  }
  return engine
}

/** @throws DeviceError, which says what to do, where a session cannot be made */
const onDevice = (device: Device, graphs: GraphRuntime): GraphRuntime =>
  device === 'cpu'
    ? graphs
    : {
        ...graphs,
        open: graph =>
          graphs.open(graph).catch(cause => {
            throw deviceError(device, cause)
          }),
      }

/** Graphs as sessions of the runtime. */
function graphsOf(
  runtime: Runtime,
  device: Device,
  settings: InferenceSession.SessionOptions,
  { doubles = runtime, memory = device === 'cpu' ? undefined : countingMemory() }: EngineParts,
): GraphRuntime {
  return {
    moved: memory?.moved,
    seconds: memory?.seconds,
    array: memory?.array,
    close: () => memory?.close(),
    async open(graph) {
      const by = graph.isDouble ? doubles : runtime
      const options = { ...settings, executionProviders: providers(device, graph) }
      const session = await by.InferenceSession.create(graph.bytes(), options)
      const tensors = (arrays: Readonly<Record<string, Values>>, there: readonly (OrtTensor | undefined)[] = []) =>
        Object.fromEntries(Object.entries(arrays).map(([name, a], i) => [name, there[i] ?? tensor(by, a, memory)]))
      return {
        async run(feeds, outputs) {
          const call = (...[given, made]: (OrtTensor | undefined)[][]) =>
            session.run(tensors(feeds, given), tensors(outputs, made)).catch(faulting(graph.isDouble ? 'cpu' : device))
          if (!memory || by !== runtime) await call()
          else await memory.useInTurn(Object.values(feeds), Object.values(outputs), call)
        },
        close: () => session.release(),
      }
    },
  }
}

/** Of Tensor's signatures TypeScript has one for each type, and none for all of them. */
function tensor({ Tensor }: Runtime, values: Values, memory?: unknown): OrtTensor {
  const data = hereOf(values, memory)
  return new Tensor(elementType(data) as 'float32', data as Float32Array, values.shape)
}
