// Where the time goes.
import type { Phase } from './events.ts'

/** Seconds of each phase. */
export class Clock {
  readonly #seconds: Partial<Record<Phase, number>> = {}
  #phase?: Phase
  #since = 0

  start(phase: Phase): void {
    this.stop()
    this.#phase = phase
    this.#since = performance.now()
  }

  stop(): Readonly<Record<string, number>> {
    if (this.#phase) this.#seconds[this.#phase] = (performance.now() - this.#since) / 1000
    this.#phase = undefined
    return this.#seconds
  }
}
