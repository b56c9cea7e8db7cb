// Where the time goes.

/** Seconds by name, one at a time. */
export class Clock<Name extends string> {
  readonly #seconds: Partial<Record<Name, number>> = {}
  #name?: Name
  #since = 0

  /** @param elsewhere seconds so far that are counted elsewhere, and not here */
  constructor(readonly elsewhere: () => number = () => 0) {}

  start(name: Name): void {
    this.stop()
    this.#name = name
    this.#since = this.#now()
  }

  stop(): Readonly<Record<string, number>> {
    if (this.#name) this.#seconds[this.#name] = (this.#seconds[this.#name] ?? 0) + this.#now() - this.#since
    this.#name = undefined
    return this.#seconds as Readonly<Record<string, number>>
  }

  #now(): number {
    return performance.now() / 1000 - this.elsewhere()
  }
}

/** What has been added to each count since `before`. */
export function difference(now: Readonly<Record<string, number>>, before: Readonly<Record<string, number>>) {
  return Object.fromEntries(Object.entries(now).map(([kind, seconds]) => [kind, seconds - (before[kind] ?? 0)]))
}

/** Sum over all names. */
export const total = (counts: Readonly<Record<string, number>>): number =>
  Object.values(counts).reduce((sum, n) => sum + n, 0)
