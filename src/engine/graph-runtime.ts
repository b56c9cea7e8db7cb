// What runs graphs.
import type { Graph } from '../formats/onnx.ts'
import type { ArrayOf, Moved, Tensor, Values } from './values.ts'

/** Opens graphs: by the package of ONNX Runtime, or by a shorter way to its library. */
export interface GraphRuntime {
  open(graph: Graph): Promise<GraphSession>
  /** As `Engine.array`, for a memory of its own. */
  array?: ArrayOf
  /** Called when nothing runs any more, before sessions close. */
  close?(): void | Promise<void>
  /** Whether its operator of attention computes what it should. The call opens the device. @default true on the CPU */
  attention?(): boolean
  /** Bytes so far, for a memory of its own. */
  readonly moved?: Moved
  /** Seconds beside runs. `Engine.seconds` adds to this object. */
  readonly seconds?: Record<string, number>
}

export interface GraphSession {
  /** @param outputs where results go */
  run(feeds: Readonly<Record<string, Values>>, outputs: Readonly<Record<string, Values>>): Promise<void>
  close(): Promise<void>
}

export type Feeds = Readonly<Record<string, Tensor | undefined>>

/**
 * Runs a graph. Its session is made on first use and kept under `key`, which must name all that `build` depends on.
 * `seconds` counts under the first word of the key.
 * @param outputs where each result goes; a result may overwrite an input of the same shape
 */
export type Run = (
  key: string,
  build: () => Graph,
  feeds: Feeds,
  outputs: Readonly<Record<string, Tensor>>,
) => Promise<void>
