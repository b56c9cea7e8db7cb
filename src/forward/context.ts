// What every part of a run works with, made once by whoever starts it and handed down.
import type { Engine } from '../engine/engine.ts'
import { ActivationPool } from './activations.ts'

export interface Context {
  readonly engine: Engine
  /** Gives room for streams and hidden activations. */
  readonly pool: ActivationPool
  readonly signal?: AbortSignal
}

/** For verbs that measure a model: they bound their activations themselves (`STREAM_BYTES`), so that all may be in memory. */
export const memoryContext = (engine: Engine, signal?: AbortSignal): Context => ({
  engine,
  pool: new ActivationPool(Number.POSITIVE_INFINITY),
  signal,
})
