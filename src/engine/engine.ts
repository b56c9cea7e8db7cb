// ONNX Runtime behind a small interface: sessions made from graphs and kept by name, runs over typed arrays.
// onnxruntime-node (engine.node.ts) and onnxruntime-web have the same API.
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
export * from './values.ts'

export interface Runtime {
  readonly Tensor: TensorConstructor
  readonly InferenceSession: {
    create(model: Uint8Array | string, options?: InferenceSession.SessionOptions): Promise<InferenceSession>
  }
}

/** Threads spin between the operators of a run, and no longer: they would keep the cores from other programs. */
export const SESSION_CONFIG = {
  'session.intra_op.allow_spinning': '1',
  'session.intra_op.spin_duration_us': '100',
} as const

export const PRECISIONS = ['float32', 'bf16', 'tf32'] as const

export type Precision = (typeof PRECISIONS)[number]

export interface Engine extends AsyncDisposable {
  readonly run: Run
  /** Makes values a constant of many runs. A GPU gets an array once; on the CPU nothing is copied. */
  tensor(data: Data, shape: readonly number[]): Tensor
  /** Values that change. On the CPU they are the array itself. */
  readonly array: ArrayOf
  /** Which operators graphs are made of. */
  readonly dialect: Dialect
  /** Products, factorisations and solves outside graphs. */
  readonly linalg: Linalg
  /**
   * Opens an ONNX model on the CPU.
   * @param model path or bytes @param external bytes of external data by location, for a model given as bytes
   */
  open(model: string | Uint8Array, external?: ReadonlyMap<string, Uint8Array>): Promise<OpenModel>
  /**
   * The engine for the graphs of half-blocks and their Gram matrices: this one, OpenVINO's in bf16, CUDA's in tf32.
   * Inputs and outputs are float32 in all of them. @throws UsageError for products that it does not have @default
   * 'float32'
   */
  inPrecision(precision?: Precision): Engine
  /** For results. */
  readonly facts: EngineFacts
  /** Bytes so far. Undefined on the CPU. */
  readonly moved?: Moved
  /** Seconds in runs and calls so far, by the first word of their keys. */
  readonly seconds: Readonly<Record<string, number>>
  /** Waits for runs that have begun and frees all sessions; `run` throws then. Leaving `await using` does the same. */
  close(): Promise<void>
}

export interface EngineParts {
  readonly blas?: Library
  /** Open graphs whose products have fewer digits; a device has one such precision at most. @throws UsageError */
  readonly reduced?: { readonly [P in Precision]?: () => Reduced }
  readonly graphs?: GraphRuntime
  /** The memory of the runtime's device, where the runtime lets a caller hold tensors in it. */
  readonly memory?: DeviceMemory<OrtTensor>
  /** Runs graphs in float64. @default the runtime itself */
  readonly doubles?: Runtime
  /** Lets input and output proceed before a run or call, which may block. */
  readonly turn?: () => Promise<void>
  readonly facts?: Partial<EngineFacts>
}

/** Graphs whose operands are rounded and whose products add up in float32. */
export interface Reduced {
  readonly graphs: GraphRuntime
  readonly dialect?: Partial<Dialect>
  readonly facts?: Partial<EngineFacts>
  /** For graphs that round sums: the size of triangles of Gram matrices, which the engine adds up in float32. */
  readonly triangle?: number
}

export interface OpenModel {
  readonly inputs: readonly InferenceSession.ValueMetadata[]
  /** @param feeds values, or results of an earlier run, such as a KV cache */
  run(feeds: Readonly<Record<string, Values | OrtTensor>>): Promise<Readonly<Record<string, OrtTensor>>>
  close(): Promise<void>
}

/** Where other products than float32's are. */
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
  const timed: Timed = async (kind, call) => {
    await parts.turn?.()
    const started = performance.now()
    const result = await call()
    seconds[kind] = (seconds[kind] ?? 0) + (performance.now() - started) / 1000
    return result
  }
  const runIn =
    (sessions: Sessions): Run =>
    (key, build, feeds, outputs) => {
      const given = Object.fromEntries(Object.entries(feeds).filter(([, feed]) => feed !== undefined))
      const [inputs, results] = [given, outputs] as Record<string, Values>[] // as `tensor` and `array` make them
      return sessions.use(key, build, session => timed(key.split(' ', 1)[0], () => session.run(inputs, results)))
    }
  const run = runIn(sessions)
  const graphs = graphLinalg(run, sessions.graphs.array)
  const engine: Engine = {
    run,
    tensor: constants(),
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
      return withProducts(engine, runIn(reduced.sessions), reduced)
    },
    open: (model, external) => openModel(runtime, settings, model, external),
    async close() {
      closed = true
      await reduced?.sessions.close()
      await sessions.close() // with the memory of both
    },
    [Symbol.asyncDispose]: () => engine.close(),
  }
  return engine
}

/** One handle for each array and shape. */
function constants(): Engine['tensor'] {
  const handles = new WeakMap<Data, Values>()
  return (data, shape) => {
    const known = handles.get(data)
    if (known?.shape.length === shape.length && shape.every((n, axis) => n === known.shape[axis])) return known
    const handle = constant(data, shape)
    handles.set(data, handle)
    return handle
  }
}

/** The engine with other products in its graphs and Gram matrices. @param products runs graphs with these products */
function withProducts(engine: Engine, products: Run, { triangle, dialect, facts }: Reduced): Engine {
  const apart = triangle ? { triangle, run: engine.run } : undefined
  const syrk: Linalg['syrk'] = (n, kind) => new GraphSum(n, kind, products, apart, engine.array)
  return {
    ...engine,
    run: products,
    dialect: { ...engine.dialect, ...dialect },
    linalg: { ...engine.linalg, syrk },
    facts: { ...engine.facts, ...facts },
  }
}

async function openModel(
  runtime: Runtime,
  settings: InferenceSession.SessionOptions,
  model: string | Uint8Array,
  external?: ReadonlyMap<string, Uint8Array>,
): Promise<OpenModel> {
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
}

/** @throws DeviceError where a session cannot be made */
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

/** TypeScript has a signature of Tensor for each type, and none for all types. */
function tensor({ Tensor }: Runtime, values: Values, memory?: unknown): OrtTensor {
  const data = hereOf(values, memory)
  return new Tensor(elementType(data) as 'float32', data as Float32Array, values.shape)
}
