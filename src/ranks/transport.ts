// The group of the ranks that a transport joins. Sums are made here, in the order of the ranks and in float64: they do
// not depend on what carries the bytes.
import { FaspError, GroupError } from '../base/errors.ts'
import { AbsentError } from './barrier.ts'
import type { Bytes, Group, Sum } from './group.ts'
import { decoded, encoded } from './message.ts'

/** What carries bytes between ranks. But for `meet`, calls are made when all ranks are there, and may block. */
export interface Transport extends Pick<Group, 'name' | 'rank' | 'size' | 'abort' | 'close'> {
  /** Comes back when all ranks are there. The process stays able to hear signals meanwhile. */
  meet(): Promise<void>
  /** @param part of this rank @param all room for those of all, which are as long */
  allgather(part: Bytes, all: Bytes): Promise<void> | void
  /** As `allgather`, to the root alone: `all` of the others is left as it is. */
  gather(part: Bytes, all: Bytes): Promise<void> | void
  /** @param send a part for each rank, one after the other @param receive room for one from each, which are as long */
  alltoall(send: Bytes, receive: Bytes): Promise<void> | void
  /** @param bytes of the root, or room for them */
  broadcast(bytes: Bytes): Promise<void> | void
  /** @param bytes of `from`, and room for them at `to`, which is another; none at others */
  move(from: number, to: number, bytes?: Bytes): Promise<void> | void
}

export interface GroupOptions {
  /** Bytes that a call takes at once. Counts of MPI are 32-bit integers. @default 64 MiB */
  readonly chunk?: number
  /** Milliseconds that a rank that fails waits for the others, who may be deep in native code. @default 5000 */
  readonly patience?: number
}

/** Bytes that a call takes at once, where nobody says. */
const CHUNK = 2 ** 26
/** Bytes of what ranks tell each other before each call. */
const STATUS = 1024
/** Characters of a message that have room there, at 4 bytes. */
const MESSAGE = 200

/** What a rank is about to do. */
interface Status {
  readonly step: number
  readonly call: string
  /** That it has for others. */
  readonly bytes?: number
  readonly error?: string
}

/** The ranks that `transport` joins. */
export function groupOver(transport: Transport, options: GroupOptions = {}): Group {
  const { chunk = CHUNK, patience = 5000 } = options
  return new Ranks(transport, chunk, patience)
}

class Ranks implements Group {
  readonly name: string
  readonly rank: number
  readonly size: number
  #step = 0

  constructor(
    readonly transport: Transport,
    readonly chunk: number,
    readonly patience: number,
  ) {
    this.name = transport.name
    this.rank = transport.rank
    this.size = transport.size
  }

  share<T>(all: readonly T[]): readonly T[] {
    const first = (rank: number) => Math.floor((rank * all.length) / this.size)
    return all.slice(first(this.rank), first(this.rank + 1))
  }

  sum(...arrays: readonly Sum[]): Promise<void> {
    return this.#sumAll('sum', arrays)
  }

  sumAtRoot(...arrays: readonly (Sum | readonly Sum[])[]): Promise<void> {
    return this.#sumAll('sum at the root', arrays)
  }

  async #sumAll(call: 'sum' | 'sum at the root', arrays: readonly (Sum | readonly Sum[])[]): Promise<void> {
    const all = arrays.map(array => ('BYTES_PER_ELEMENT' in array ? [array] : array))
    await this.#meet(`${call} ${all.map(parts => `${parts[0].BYTES_PER_ELEMENT}x${lengthOf(parts)}`)}`)
    for (const parts of all) await this.#sum(parts, call === 'sum')
  }

  /** Slice by slice: each rank adds up its own of all ranks in order, and rounds once. @param toAll else to the root */
  async #sum(parts: readonly Sum[], toAll: boolean): Promise<void> {
    const { size, rank, transport } = this
    const Type = parts[0].constructor as new (length: number) => Sum
    const most = Math.max(1, Math.floor(this.chunk / parts[0].BYTES_PER_ELEMENT / size))
    const slice = Math.min(most, Math.ceil(lengthOf(parts) / size)) // elements of a rank's
    const [all, received, own] = [new Type(slice * size), new Type(slice * size), new Type(slice)]
    for (const run of runsOf(parts, all.length)) {
      all.fill(0)
      for (const { part, at } of run) all.set(part, at)
      await transport.alltoall(bytesOf(all), bytesOf(received))
      for (let i = 0; i < slice; i++) {
        let sum = received[i]
        for (let at = slice + i; at < received.length; at += slice) sum += received[at]
        own[i] = sum
      }
      const collect = toAll ? transport.allgather : transport.gather
      await collect(bytesOf(own), bytesOf(all))
      if (toAll || rank === 0) for (const { part, at } of run) part.set(all.subarray(at, at + part.length))
    }
  }

  async gather<T>(value: T): Promise<T[]> {
    const { size } = this
    const bytes = encoded(value)
    const lengths = (await this.#meet('gather', bytes.length)).map(status => status.bytes!)
    const room = Math.max(...lengths)
    const [part, all] = [new Uint8Array(room), new Uint8Array(room * size)]
    part.set(bytes)
    await this.transport.allgather(part, all)
    return lengths.map((length, rank) => decoded(all.slice(rank * room, rank * room + length)) as T)
  }

  async decide<T extends R, R = T>(work: () => T | Promise<T>, part = (value: T): R => value): Promise<T | R> {
    const value = this.rank === 0 ? { of: await work() } : undefined
    const own = value && encoded(part(value.of))
    const [{ bytes: length }] = await this.#meet('decide', own?.length)
    const bytes = own ?? new Uint8Array(length!)
    for (let from = 0; from < bytes.length; from += this.chunk)
      await this.transport.broadcast(bytes.subarray(from, from + this.chunk))
    if (!value) return decoded(bytes) as R
    return value.of
  }

  async move(from: number, to: number, bytes?: Bytes): Promise<void> {
    if (from === to) return
    const all = await this.#meet(`move ${from} ${to}`, bytes?.length)
    const length = all[from].bytes ?? 0
    for (let at = 0; at < length; at += this.chunk)
      await this.transport.move(from, to, bytes?.subarray(at, at + this.chunk))
  }

  async barrier(): Promise<void> {
    await this.#meet('barrier')
  }

  async fail(error: unknown): Promise<boolean> {
    if (error instanceof GroupError) return !(error instanceof AbsentError) // all know it
    const message = error instanceof FaspError ? error.message : `${error}`
    const told = this.#tell({ step: this.#step, call: 'fail', error: message.slice(0, MESSAGE) })
    let stop = () => {}
    const late = new Promise<undefined>(resolve => {
      const timer = setTimeout(resolve, this.patience)
      stop = () => clearTimeout(timer)
    })
    const all = await Promise.race([told.catch(() => undefined), late])
    stop()
    return all !== undefined
  }

  abort(): void {
    this.transport.abort()
  }

  close(): Promise<void> {
    return this.transport.close()
  }

  /** Before each call: a rank that fails, or makes another call, would be waited for without end. @throws GroupError */
  async #meet(call: string, bytes?: number): Promise<Status[]> {
    const all = await this.#tell({ step: this.#step++, call, bytes })
    const failed = all.findIndex(({ error }) => error !== undefined)
    if (failed >= 0) throw new GroupError(failed, this.size, all[failed].error!)
    const { step } = all[0]
    const other = all.findIndex(status => status.step !== step || status.call !== all[0].call)
    if (other < 0) return all
    const said = (status: Status) => `${status.call} (${status.step})`
    throw new GroupError(other, this.size, `out of step, at ${said(all[other])} where rank 0 is at ${said(all[0])}`)
  }

  async #tell(status: Status): Promise<Status[]> {
    const [own, all] = [new Uint8Array(STATUS), new Uint8Array(STATUS * this.size)]
    own.set(new TextEncoder().encode(JSON.stringify(status)))
    await this.transport.meet()
    await this.transport.allgather(own, all)
    const text = (rank: number) => new TextDecoder().decode(all.subarray(rank * STATUS, (rank + 1) * STATUS))
    return Array.from({ length: this.size }, (_, rank) => JSON.parse(text(rank).replace(/\0+$/, '')) as Status)
  }
}

const lengthOf = (parts: readonly Sum[]) => parts.reduce((sum, { length }) => sum + length, 0)

/** The parts in runs of so many elements, the last of fewer: views, and where in their run each begins. */
function* runsOf(parts: readonly Sum[], length: number): Generator<{ readonly part: Sum; readonly at: number }[]> {
  let [run, at]: [{ part: Sum; at: number }[], number] = [[], 0]
  for (const whole of parts)
    for (let from = 0; from < whole.length; ) {
      const part = whole.subarray(from, from + length - at)
      run.push({ part, at })
      from += part.length
      at += part.length
      if (at < length) continue
      yield run
      ;[run, at] = [[], 0]
    }
  if (run.length > 0) yield run
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Sum) => new Uint8Array(buffer, byteOffset, byteLength)
