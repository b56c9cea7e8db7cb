// What every part of a run works with, made once by whoever starts it and handed down.
import type { Engine } from '../engine/engine.ts'
import { ActivationPool } from '../output/activations.ts'
import type { Group } from '../ranks/group.ts'

export interface Context {
  readonly engine: Engine
  /** Gives room for streams and hidden activations. */
  readonly pool: ActivationPool
  readonly signal?: AbortSignal
  /** The processes that windows are shared out among. @default this one alone */
  readonly group?: Group
}

/** For verbs that measure a model: they bound their activations themselves (`STREAM_BYTES`), so that all may be in memory. */
export const memoryContext = (engine: Engine, signal?: AbortSignal): Context => ({
  engine,
  pool: new ActivationPool(Number.POSITIVE_INFINITY, undefined, engine.array),
  signal,
})
