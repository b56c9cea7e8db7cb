// What lies in the memory of a GPU: constants (weights, tables, norms), which go there once, and rows that change, which stay until somebody asks
// for them here. ONNX Runtime copies all else by itself with each run. How such a memory is reached differs: by ONNX Runtime's C interface
// (memory.node.ts), or by WebGPU in a page (webgpu.ts).
import { UsageError } from '../../base/errors.ts'
import { type Data, type ElementType, elementType } from '../../formats/onnx.ts'
import { elements, type Floats } from '../../formats/tensors.ts'
import { type ArrayOf, bytesOf, type Moved, type Values } from '../values.ts'
import { Arrivals } from './arrivals.ts'

/** Tensors in the memory of a device. */
export interface DeviceTensors<T> {
  /** Before a run that takes a while. */
  ready?(): Promise<void>
  /** Undefined where it has no room left. */
  allocate(type: ElementType, shape: readonly number[], bytes: number): T | undefined
  /** Copies what is here there. */
  write(here: Data, shape: readonly number[], there: T): void
  /** Copies it back. Where that takes a while, `there` may be released meanwhile, and `here` stays as it is if it is not wanted in the end. */
  read(here: Data, shape: readonly number[], there: T, isWanted: () => boolean): void | Promise<void>
  release(there: T): void
  /** Fills `there` with elements from `first` on of what lies there, too. */
  part(whole: T, first: number, shape: readonly number[], there: T): void
  /** Fills `there`, which is new, with zeros of float32. */
  clear(shape: readonly number[], there: T): void
  /** Whether what was asked for has gone well, as far as is known: all of which something was read. @throws DeviceError */
  check?(): void
  close?(): void
}

/** Rows that change. */
class Resident implements Values<Floats> {
  #host?: Floats

  constructor(
    readonly memory: DeviceMemory<unknown>,
    readonly shape: readonly number[],
    host?: Floats,
  ) {
    this.#host = host
  }

  /** Nobody has written to it here, nor asked for it. */
  get isEmpty(): boolean {
    return !this.#host
  }

  /** The array here, whether or not the device's is newer. */
  get host(): Floats {
    this.#host ??= new Float32Array(elements(this.shape))
    return this.#host
  }

  get data(): Floats {
    if (this.memory.fetch(this)) throw new Error('Rows are still on their way from the device: await hostOf(rows).')
    return this.host
  }

  arrive = (): Promise<void> => this.memory.arrive(this)

  drop(): void {
    this.memory.drop(this)
  }

  part(from: number, to: number): Part {
    return new Part(this, from, [to - from, ...this.shape.slice(1)])
  }
}

/** Some rows of others, to be read: there only while a run does, lest copies of them push others out. */
class Part implements Values<Floats> {
  /** Number of its first element among theirs. */
  readonly first: number

  constructor(
    readonly of: Resident,
    from: number,
    readonly shape: readonly number[],
  ) {
    this.first = from * elements(shape.slice(1))
  }

  get host(): Floats {
    return this.#of(this.of.host)
  }

  get data(): Floats {
    return this.#of(this.of.data)
  }

  arrive = (): Promise<void> => this.of.arrive()

  drop(): void {
    this.of.memory.drop(this)
  }

  #of(all: Floats): Floats {
    return all.subarray(this.first, this.first + elements(this.shape))
  }
}

const isRows = (values: Values): values is Resident | Part => values instanceof Resident || values instanceof Part

/** What an array is here, whether or not it is newer in this memory. */
export const hereOf = (values: Values, memory: unknown): Data =>
  isRows(values) && wholeOf(values).memory === memory ? values.host : values.data

const wholeOf = (rows: Resident | Part): Resident => (rows instanceof Part ? rows.of : rows)

const typeOf = (values: Values): ElementType => (isRows(values) ? 'float32' : elementType(values.data))

interface Kept<T> {
  readonly there: T
  readonly bytes: number
  /** Those which have not what this has. */
  readonly newerThan?: WeakRef<Resident>
  /** Why that could not come here, and is nowhere any more. */
  lost?: unknown
  /** The last run that used it. */
  run: number
}

/** Of the room, so much may be on its way here beside a run: copies of it lie there until it has come. */
const ARRIVING_SHARE = 1 / 4

/** Of feeds and results, those that are there. */
type There<T> = (T | undefined)[]

/** GiB. The weights of a half-block of a 7B model are half of it. */
const ROOM = 1

/** @returns bytes of `deviceMemory` GiB @throws UsageError */
export function roomOf(deviceMemory = ROOM): number {
  if (!(deviceMemory >= 0)) throw new UsageError(`device memory is ${deviceMemory}; it must be GiB, 0 or more.`)
  return deviceMemory * 2 ** 30
}

/** Keeps nothing there, and counts what goes over with each run. */
export const countingMemory = () =>
  new DeviceMemory<never>({ allocate: () => undefined, write() {}, read() {}, release() {}, part() {}, clear() {} }, 0)

/** What was used last stays, as long as there is room. What nobody can ask for any more goes. */
export class DeviceMemory<T> {
  readonly moved: Moved = { toDevice: 0, fromDevice: 0 }
  /** Outside runs: `copy`, what came here because somebody asked, and as `timed` has it. */
  readonly seconds: Record<string, number> = {}
  readonly #kept = new Set<Kept<T>>() // the last used comes last
  readonly #of = new WeakMap<Values, Kept<T>>()
  readonly #gone = new FinalizationRegistry<Kept<T>>(kept => this.#release(kept))
  readonly #arrivals = new Arrivals<Resident>()
  #turn: Promise<unknown> = Promise.resolve()
  #bytes = 0
  #runs = 0

  /** @param room bytes */
  constructor(
    readonly tensors: DeviceTensors<T>,
    readonly room: number,
  ) {}

  readonly array: ArrayOf = (shape, data) => new Resident(this, shape, data)

  /** Calls with the tensors of feeds and results that are there, undefined for those that are arrays here. */
  use(feeds: readonly Values[], outputs: readonly Values[], call: (feeds: There<T>, results: There<T>) => void): void {
    const { given, made, done, failed } = this.#begin(feeds, outputs)
    try {
      call(given, made)
    } catch (error) {
      failed()
      throw error
    }
    done()
  }

  /** The same where a run takes a while: then nothing moves but what is on its way here, which it waits for where it reads or writes it. */
  useInTurn(
    feeds: readonly Values[],
    outputs: readonly Values[],
    call: (feeds: There<T>, results: There<T>) => Promise<unknown>,
  ): Promise<void> {
    return this.#inTurn(async () => {
      await this.tensors.ready?.()
      await this.#haveCome(feeds)
      const { given, made, done, failed } = this.#begin(feeds, outputs)
      try {
        await this.#haveCome([...feeds, ...outputs.filter((_, i) => !made[i])]) // parts of what has made room are read here
        await this.#arrivals.atMost(ARRIVING_SHARE * this.room)
        await call(given, made)
      } catch (error) {
        failed()
        throw error
      }
      done()
    })
  }

  /** Brings rows here, and keeps nothing of them there: they may change. */
  arrive(rows: Resident): Promise<void> {
    return this.#inTurn(() => this.fetch(rows))
  }

  /** The same, at once. @returns what is to be waited for, where that cannot be @throws where it fails, and from then on */
  fetch(rows: Resident): void | Promise<void> {
    const kept = this.#of.get(rows)
    this.#refuseLost(rows)
    if (kept && this.#kept.has(kept)) return this.timed('copy', () => this.#leave(kept))
    const coming = this.#arrivals.of(rows)
    return coming && this.timed('copy', () => coming)
  }

  /** Counts the seconds of a call outside runs. */
  timed<R>(kind: string, call: () => R): R {
    const started = performance.now()
    const count = () => {
      this.seconds[kind] = (this.seconds[kind] ?? 0) + (performance.now() - started) / 1000
    }
    let result: R | undefined
    try {
      result = call()
      return result
    } finally {
      if (result instanceof Promise) void result.then(count, count)
      else count()
    }
  }

  drop(values: Values): void {
    const kept = this.#of.get(values)
    if (kept) this.#release(kept)
    this.#of.delete(values)
    if (values instanceof Resident) this.#arrivals.forget(values)
  }

  /** Brings here what is newer there. What a device that has failed does not give, `data` throws for. */
  close(): Promise<void> {
    return this.#inTurn(async () => {
      for (const kept of this.#kept)
        try {
          void this.#leave(kept)
        } catch (error) {
          kept.lost = error
          this.#release(kept)
        }
      await this.#arrivals.settled()
      this.tensors.close?.()
    })
  }

  #inTurn(call: () => void | Promise<void>): Promise<void> {
    const turn = this.#turn.then(async () => {
      try {
        await call()
      } finally {
        this.tensors.check?.()
      }
    })
    this.#turn = turn.catch(() => {})
    return turn
  }

  /** Until what is here of them is theirs. */
  async #haveCome(values: readonly Values[]): Promise<void> {
    for (const one of values) if (isRows(one)) await this.#arrivals.of(wholeOf(one))
  }

  #begin(feeds: readonly Values[], outputs: readonly Values[]) {
    this.#runs++
    const held = (values: Values) => values.isConstant || values.drop
    for (const feed of feeds) // none makes room for another
      if (held(feed) && !this.#find(feed) && feed instanceof Part) this.#find(feed.of)
    const given = feeds.map(feed => (held(feed) ? this.#use(feed) : undefined))
    const made: (Kept<T> | undefined)[] = []
    const failed = () => {
      for (const kept of made) if (kept) this.#release(kept)
    }
    try {
      for (const output of outputs)
        made.push(output instanceof Resident ? this.#make(output, new WeakRef(output)) : undefined)
    } catch (error) {
      failed()
      throw error
    }
    const done = () => {
      this.moved.toDevice += bytesOf(feeds.filter((_, i) => given[i] === undefined))
      this.moved.fromDevice += bytesOf(outputs.filter((_, i) => !made[i]))
      for (const [i, output] of outputs.entries()) {
        this.drop(output) // what it was
        const kept = made[i]
        if (kept) this.#hold(output, kept)
      }
      for (const feed of feeds) if (feed instanceof Part) this.drop(feed) // made anew from the whole for the next run
    }
    return { given, made: made.map(kept => kept?.there), done, failed }
  }

  #find(values: Values): Kept<T> | undefined {
    const kept = this.#of.get(values)
    if (!kept || !this.#kept.delete(kept)) return undefined
    this.#kept.add(kept)
    kept.run = this.#runs
    return kept
  }

  #refuseLost(values: Values): void {
    const kept = this.#of.get(isRows(values) ? wholeOf(values) : values)
    if (kept?.lost) throw kept.lost
  }

  #use(values: Values): T | undefined {
    this.#refuseLost(values)
    const found = this.#find(values)
    if (found) return found.there
    const whole = values instanceof Part ? this.#find(values.of) : undefined
    const kept = this.#make(values)
    if (!kept) {
      if (whole) void this.#leave(whole)
      return undefined
    }
    this.#hold(values, kept)
    try {
      this.#fill(values, kept, whole)
    } catch (error) {
      this.#release(kept)
      throw error
    }
    return kept.there
  }

  #fill(values: Values, { there, bytes }: Kept<T>, whole?: Kept<T>): void {
    if (whole) this.tensors.part(whole.there, (values as Part).first, values.shape, there)
    else if (values instanceof Resident && values.isEmpty) this.tensors.clear(values.shape, there)
    else {
      this.tensors.write(hereOf(values, this), values.shape, there)
      this.moved.toDevice += bytes
    }
  }

  /** Undefined where there is no room beside what the same run uses. */
  #make(values: Values, newerThan?: WeakRef<Resident>): Kept<T> | undefined {
    const bytes = bytesOf([values])
    if (bytes === 0 || bytes > this.room) return undefined
    for (const kept of this.#kept) {
      if (this.#bytes + bytes <= this.room || kept.run === this.#runs) break
      void this.#leave(kept)
    }
    if (this.#bytes + bytes > this.room) return undefined
    const there = this.#allocate(values, bytes)
    if (there === undefined) return undefined
    const kept = { there, bytes, newerThan, run: this.#runs }
    this.#bytes += bytes
    this.#kept.add(kept)
    return kept
  }

  /** Less room than was said is all the room there is. Undefined where a device has none left. */
  #allocate(values: Values, bytes: number): T | undefined {
    for (;;) {
      const there = this.tensors.allocate(typeOf(values), values.shape, bytes)
      const [oldest] = this.#kept
      if (there !== undefined || !oldest || oldest.run === this.#runs) return there
      void this.#leave(oldest)
    }
  }

  #hold(values: Values, kept: Kept<T>): void {
    this.#of.set(values, kept)
    this.#gone.register(values, kept, kept)
  }

  /** To make room, or for those who ask. */
  #leave(kept: Kept<T>): void | Promise<void> {
    const rows = kept.newerThan?.deref()
    if (!rows) return this.#release(kept)
    const copying = (isWanted: () => boolean) => this.tensors.read(rows.host, rows.shape, kept.there, isWanted)
    const come = this.#arrivals.add(rows, kept.bytes, copying, error => {
      kept.lost = error // for those who ask later
    })
    this.moved.fromDevice += kept.bytes
    this.#release(kept)
    return come
  }

  #release(kept: Kept<T>): void {
    if (!this.#kept.delete(kept)) return
    this.#gone.unregister(kept)
    this.#bytes -= kept.bytes
    this.tensors.release(kept.there)
  }
}
