// Ranks that are tasks of one process, for tests: the bytes go from array to array.
import type { Group } from '../src/ranks/group.ts'
import { type GroupOptions, groupOver, type Transport } from '../src/ranks/transport.ts'

/** Of each rank its group. @param size ranks */
export function inProcess(size: number, options?: GroupOptions): Group[] {
  const room = new Room(size)
  return Array.from({ length: size }, (_, rank) => groupOver(member(room, rank), options))
}

/** Where all ranks lay something down before each goes on with what all have. */
class Room {
  #parts: Uint8Array<ArrayBuffer>[] = []
  #waiting: PromiseWithResolvers<readonly Uint8Array[]> | undefined
  #here = 0
  #aborted = false

  constructor(readonly size: number) {}

  async meet(rank: number, part: Uint8Array<ArrayBuffer> = new Uint8Array()): Promise<readonly Uint8Array[]> {
    if (this.#aborted) throw ended()
    this.#waiting ??= resolvers()
    this.#parts[rank] = part.slice() // its owner goes on with it
    const { promise, resolve } = this.#waiting
    if (++this.#here === this.size) {
      resolve(this.#parts)
      this.#parts = []
      this.#waiting = undefined
      this.#here = 0
    }
    return promise
  }

  abort(): void {
    this.#aborted = true
    this.#waiting?.promise.catch(() => {})
    this.#waiting?.reject(ended())
  }
}

const ended = () => new Error('another rank has ended all')

function member(room: Room, rank: number): Transport {
  const { size } = room
  return {
    name: 'ranks in one process',
    ...{ rank, size },
    async meet() {
      await room.meet(rank)
    },
    async allgather(part, all) {
      for (const [from, its] of (await room.meet(rank, part)).entries()) all.set(its, from * part.length)
    },
    async gather(part, all) {
      const parts = await room.meet(rank, part)
      if (rank === 0) for (const [from, its] of parts.entries()) all.set(its, from * part.length)
    },
    async alltoall(send, receive) {
      const length = send.length / size
      for (const [from, its] of (await room.meet(rank, send)).entries())
        receive.set(its.subarray(rank * length, (rank + 1) * length), from * length)
    },
    async broadcast(bytes) {
      const [of] = await room.meet(rank, rank === 0 ? bytes : undefined)
      bytes.set(of)
    },
    async move(from, to, bytes) {
      const its = (await room.meet(rank, bytes))[from]
      if (rank === to) bytes!.set(its)
    },
    abort: () => room.abort(),
    close: async () => {},
  }
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (reason: unknown) => void
}

/** As `Promise.withResolvers`, which Node 20 lacks. */
function resolvers<T>(): PromiseWithResolvers<T> {
  let [resolve, reject]: [(value: T) => void, (reason: unknown) => void] = [() => {}, () => {}]
  const promise = new Promise<T>((yes, no) => {
    ;[resolve, reject] = [yes, no]
  })
  return { promise, resolve, reject }
}
