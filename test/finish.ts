/** Runs a generator of events to its end. */
export async function finish<E, T>(events: AsyncGenerator<E, T>, look?: (event: E) => void): Promise<T> {
  for (;;) {
    const step = await events.next()
    if (step.done) return step.value
    look?.(step.value)
  }
}
