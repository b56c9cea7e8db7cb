// What every part of a run works with, made once by whoever starts it and handed down.
import type { Engine } from '../engine/engine.ts'
import type { ActivationPool } from './activations.ts'

export interface Context {
  readonly engine: Engine
  /** Gives room for streams and hidden activations. */
  readonly pool: ActivationPool
  readonly signal?: AbortSignal
}
