// What runs graphs.
import type { Graph } from '../formats/onnx.ts'
import type { ArrayOf, Moved, Tensor, Values } from './values.ts'

/** Opens graphs. Another than that of the runtime may have less to do. */
export interface GraphRuntime {
  open(graph: Graph): Promise<GraphSession>
  /** As `Engine.array`, where there is a memory of its own. */
  array?: ArrayOf
  /** Before its sessions, when nothing runs any more. */
  close?(): void | Promise<void>
  /** Whether its operator of attention is right, where that is in question. Asking opens the device. */
  attention?(): boolean
  /** So far, where graphs run in a memory of their own. */
  readonly moved?: Moved
  /** Of what it does beside runs; `Engine.seconds` goes on from it. */
  readonly seconds?: Record<string, number>
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
