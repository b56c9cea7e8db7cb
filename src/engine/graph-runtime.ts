// What runs graphs, and what goes in and out: typed arrays with a shape.
import type { Tensor } from 'onnxruntime-common'
import type { ElementType, Graph } from '../formats/onnx.ts'

/** Uint16Array holds float16. */
type Data = Float32Array | Float64Array | Uint16Array | Int32Array | BigInt64Array

/** Values with a shape. Views on larger buffers are fine: the runtime reads and writes them in place. */
export interface Values<T extends Data = Data> {
  readonly data: T
  readonly shape: readonly number[]
}

export const values = <T extends Data>(data: T, shape: readonly number[]): Values<T> => ({ data, shape })

/** What the values are for ONNX. */
export function elementType(data: Data): ElementType & Tensor.Type {
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
