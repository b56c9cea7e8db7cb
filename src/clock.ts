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

/** What has been added to each count since `before`. */
export function difference(now: Readonly<Record<string, number>>, before: Readonly<Record<string, number>>) {
  return Object.fromEntries(Object.entries(now).map(([kind, seconds]) => [kind, seconds - (before[kind] ?? 0)]))
}
