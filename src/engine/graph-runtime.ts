// What runs graphs, and what goes in and out: handles of tensors, typed arrays where the runtime works in the caller's memory.
import type { Tensor as OrtTensor } from 'onnxruntime-common'
import type { ElementType, Graph } from '../formats/onnx.ts'

/** Uint16Array holds float16. */
export type Data = Float32Array | Float64Array | Uint16Array | Int32Array | BigInt64Array

/** A handle: values where the engine keeps them. `Engine.read` shows them. */
export interface Tensor {
  readonly shape: readonly number[]
}

/** A handle that is the caller's array. Views on larger buffers are fine: the runtime reads and writes them in place. */
export interface Values<T extends Data = Data> extends Tensor {
  readonly data: T
}

export const values = <T extends Data>(data: T, shape: readonly number[]): Values<T> => ({ data, shape })

/** What the values are for ONNX. */
export function elementType(data: Data): ElementType & OrtTensor.Type {
  if (data instanceof Float32Array) return 'float32'
  if (data instanceof Float64Array) return 'float64'
  if (data instanceof Uint16Array) return 'float16'
  if (data instanceof Int32Array) return 'int32'
  return 'int64'
}

/** Opens graphs. Another than that of the runtime may have less to do. */
export interface GraphRuntime {
  open(graph: Graph): Promise<GraphSession>
}

export interface GraphSession {
  /** @param outputs where results go */
  run(feeds: Readonly<Record<string, Values>>, outputs: Readonly<Record<string, Values>>): Promise<void>
  close(): Promise<void>
}

export type Feeds = Readonly<Record<string, Tensor | undefined>>

/**
 * Runs a graph. Its session is made on first use and kept under `key`, so `key` must name all that `build` depends on;
 * its first word is the kind that `seconds` counts under.
 * @param outputs where each result goes; a result may overwrite an input of the same shape
 */
export type Run = (
  key: string,
  build: () => Graph,
  feeds: Feeds,
  outputs: Readonly<Record<string, Tensor>>,
) => Promise<void>
