// What is on its way here from the memory of a GPU, beside the runs that come after it.

interface Arrival {
  readonly bytes: number
  readonly come: Promise<void>
}

export class Arrivals<Rows> {
  readonly #of = new Map<Rows, Arrival>() // those that left first come first

  /**
   * @param copying begins a copy, which writes nothing here once that is not wanted. @param failed is told why it did not come
   * @returns what is to be waited for, where it takes a while
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
    come.catch(() => {}) // thrown where it is waited for
    this.#of.set(rows, { bytes, come })
    return come
  }

  of(rows: Rows): Promise<void> | undefined {
    return this.#of.get(rows)?.come
  }

  /** They are not wanted any more. */
  forget(rows: Rows): void {
    this.#of.delete(rows)
  }

  /** Until no more bytes than these are on their way. */
  async atMost(most: number): Promise<void> {
    for (const { come } of [...this.#of.values()]) {
      if ([...this.#of.values()].reduce((sum, { bytes }) => sum + bytes, 0) <= most) return
      await come
    }
  }

  /** Until all have come, or failed. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#of.values()].map(({ come }) => come))
  }
}
