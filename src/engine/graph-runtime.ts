// What runs graphs, and what goes in and out: handles of tensors, typed arrays where the runtime works in the caller's memory.
import type { Data, Graph } from '../formats/onnx.ts'

/** A handle: values where the engine keeps them. `Engine.read` shows them. */
export interface Tensor {
  readonly shape: readonly number[]
}

/** A handle that is the caller's array. Views on larger buffers are fine: the runtime reads and writes them in place. */
export interface Values<T extends Data = Data> extends Tensor {
  readonly data: T
  /** It does not change as long as it is there, and many runs read it: a copy may stay where they run. */
  readonly isConstant?: true
}

export const values = <T extends Data>(data: T, shape: readonly number[]): Values<T> => ({ data, shape })

export const constant = <T extends Data>(data: T, shape: readonly number[]): Values<T> => ({
  ...{ data, shape },
  isConstant: true,
})

/** Opens graphs. Another than that of the runtime may have less to do. */
export interface GraphRuntime {
  open(graph: Graph): Promise<GraphSession>
  /** After its sessions. */
  close?(): void
  /** Whether its operator of attention is right, where that is in question. Asking opens the device. */
  attention?(): boolean
  /** So far, where graphs run in a memory of their own. */
  readonly moved?: Moved
}

/** Bytes of feeds and results that went over to a device and came back. */
export type Moved = Record<'toDevice' | 'fromDevice', number>

/** Those of arrays that a device takes; float64 stays with the CPU. */
export const bytesOf = (arrays: readonly Values[]): number =>
  arrays.reduce((sum, { data }) => sum + (data instanceof Float64Array ? 0 : data.byteLength), 0)

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
