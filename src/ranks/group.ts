// Several processes that prune one model: each has a part of the windows, and sums over windows are sums over all of
// them (docs/distributed.md). All ranks make the same calls in the same order.

export interface Group {
  /** What carries the bytes, with its version. */
  readonly name: string
  /** Number of this process; 0 is the root, which decides and writes. */
  readonly rank: number
  readonly size: number
  /** The part of `all` that is this rank's: consecutive, none where there are fewer than ranks. */
  share<T>(all: readonly T[]): readonly T[]
  /** Adds up what the ranks have, element by element, in place on all of them, in arrays of the same lengths. */
  sum(...arrays: readonly Sum[]): Promise<void>
  /** As `sum`, at the root alone: the others' arrays are then lost. @param arrays each whole, or parts of one type */
  sumAtRoot(...arrays: readonly (Sum | readonly Sum[])[]): Promise<void>
  /** What each rank has, in their order: small values, as JSON has them. */
  gather<T>(value: T): Promise<T[]>
  /** What `work` gives at the root, where alone it is done. @param part of it that the others get. @default all */
  decide<T extends R, R = T>(work: () => T | Promise<T>, part?: (value: T) => R): Promise<T | R>
  /** Gives rank `to` the bytes of rank `from`, in room for as many; the others give none. All ranks call this. */
  move(from: number, to: number, bytes?: Bytes): Promise<void>
  /** Comes back when all ranks are there. */
  barrier(): Promise<void>
  /** Tells the others, who throw a `GroupError` where they next meet. @returns false where not all came in time */
  fail(error: unknown): Promise<boolean>
  /** Ends all ranks, and this one. */
  abort(): void
  /** After the last call; none waits for another. */
  close(): Promise<void>
}

/** What is added up. */
export type Sum = Float32Array<ArrayBuffer> | Float64Array<ArrayBuffer>
export type Bytes = Uint8Array<ArrayBuffer>

/** One process: nothing is shared, and nothing is copied. */
export const ALONE: Group = {
  name: 'one process',
  rank: 0,
  size: 1,
  share: all => all,
  sum: async () => {},
  sumAtRoot: async () => {},
  gather: async value => [value],
  decide: async work => work(),
  move: async () => {},
  barrier: async () => {},
  fail: async () => true,
  abort() {},
  close: async () => {},
}
