// The means of a run, made once by its caller and handed down.
import type { Engine } from '../engine/engine.ts'
import { ActivationPool } from '../output/activations.ts'
import type { Group } from '../ranks/group.ts'

export interface Context {
  readonly engine: Engine
  /** Room for streams and hidden activations. */
  readonly pool: ActivationPool
  readonly signal?: AbortSignal
  /** The processes that windows are shared out among. @default this one alone */
  readonly group?: Group
}

/** For verbs that bound their activations by themselves (`STREAM_BYTES`): all may be in memory. */
export const memoryContext = (engine: Engine, signal?: AbortSignal): Context => ({
  engine,
  pool: new ActivationPool(Number.POSITIVE_INFINITY, undefined, engine.array),
  signal,
})
