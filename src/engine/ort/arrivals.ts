// Copies on their way from the memory of a GPU, beside later runs.

interface Arrival {
  readonly bytes: number
  readonly come: Promise<void>
}

export class Arrivals<Rows> {
  readonly #of = new Map<Rows, Arrival>() // those that left first come first

  /**
   * @param copying begins a copy, which writes nothing once `isWanted` is false @param failed gets the error of a copy
   * @returns a promise of the end, where a copy takes a while
   */
  add(
    rows: Rows,
    bytes: number,
    copying: (isWanted: () => boolean) => void | Promise<void>,
    failed: (error: unknown) => void,
  ): void | Promise<void> {
    const isWanted = (): boolean => this.#of.get(rows)?.come === come
    const copied = copying(isWanted)
    if (!copied) return
    const come: Promise<void> = copied
      .catch(error => {
        failed(error)
        throw error
      })
      .finally(() => isWanted() && this.#of.delete(rows))
    come.catch(() => {}) // thrown where somebody waits for it
    this.#of.set(rows, { bytes, come })
    return come
  }

  of(rows: Rows): Promise<void> | undefined {
    return this.#of.get(rows)?.come
  }

  /** Nobody wants these rows any more. */
  forget(rows: Rows): void {
    this.#of.delete(rows)
  }

  /** Waits until at most so many bytes are on their way. */
  async atMost(most: number): Promise<void> {
    for (const { come } of [...this.#of.values()]) {
      if ([...this.#of.values()].reduce((sum, { bytes }) => sum + bytes, 0) <= most) return
      await come
    }
  }

  /** Waits until all have arrived or failed. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#of.values()].map(({ come }) => come))
  }
}
