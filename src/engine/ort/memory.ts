// The memory of a GPU: constants (weights, tables, norms) go there once; rows that change stay there until somebody
// reads them in this machine's memory. ONNX Runtime copies all else with each run. The memory is reached by ONNX
// Runtime's C interface (memory.node.ts), or by WebGPU in a page (webgpu.ts).
import { UsageError } from '../../base/errors.ts'
import { type Data, type ElementType, elementType } from '../../formats/onnx.ts'
import { elements, type Floats } from '../../formats/tensors.ts'
import { type ArrayOf, bytesOf, type Moved, type Values } from '../values.ts'
import { Arrivals } from './arrivals.ts'

/** Tensors in the memory of a device. */
export interface DeviceTensors<T> {
  /** Called before a run that takes a while. */
  ready?(): Promise<void>
  /** Undefined where there is no room left. */
  allocate(type: ElementType, shape: readonly number[], bytes: number): T | undefined
  /** Copies an array to the device. */
  write(here: Data, shape: readonly number[], there: T): void
  /** Copies to an array. `there` may be released meanwhile; the array stays as it is once `isWanted` is false. */
  read(here: Data, shape: readonly number[], there: T, isWanted: () => boolean): void | Promise<void>
  release(there: T): void
  /** Copies elements from `first` on of a tensor to another. */
  part(whole: T, first: number, shape: readonly number[], there: T): void
  /** Fills a new tensor with zeros of float32. */
  clear(shape: readonly number[], there: T): void
  /** @throws DeviceError where an earlier call is known to have failed */
  check?(): void
  close?(): void
}

/** Rows that change. `host` is their array in this machine's memory, `data` the same once it is up to date. */
class Resident implements Values<Floats> {
  #host?: Floats

  constructor(
    readonly memory: DeviceMemory<unknown>,
    readonly shape: readonly number[],
    host?: Floats,
  ) {
    this.#host = host
  }

  /** Nobody has written or read the array. */
  get isEmpty(): boolean {
    return !this.#host
  }

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

/** A view on rows. Its copy on the device ends with the run, lest copies push other values out. */
class Part implements Values<Floats> {
  /** Index of its first element. */
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

/** The array in this machine's memory, whether or not `memory` has newer values. */
export const hereOf = (values: Values, memory: unknown): Data =>
  isRows(values) && wholeOf(values).memory === memory ? values.host : values.data

const wholeOf = (rows: Resident | Part): Resident => (rows instanceof Part ? rows.of : rows)

const typeOf = (values: Values): ElementType => (isRows(values) ? 'float32' : elementType(values.data))

interface Kept<T> {
  readonly there: T
  readonly bytes: number
  /** The rows whose array has older values. */
  readonly newerThan?: WeakRef<Resident>
  /** The error by which the values were lost. */
  lost?: unknown
  /** Number of the last run that used it. */
  run: number
}

/** The part of the room that may be on its way to arrays beside a run: copies stay on the device until they arrive. */
const ARRIVING_SHARE = 1 / 4

/** Tensors of feeds or results; undefined for arrays in this machine's memory. */
type There<T> = (T | undefined)[]

/** GiB. The weights of a half-block of a 7B model are half of it. */
const ROOM = 1

/** @returns bytes of `deviceMemory` GiB @throws UsageError */
export function roomOf(deviceMemory = ROOM): number {
  if (!(deviceMemory >= 0)) throw new UsageError(`device memory is ${deviceMemory}; it must be GiB, 0 or more.`)
  return deviceMemory * 2 ** 30
}

/** Keeps nothing on the device, and counts the bytes that go over with each run. */
export const countingMemory = () =>
  new DeviceMemory<never>({ allocate: () => undefined, write() {}, read() {}, release() {}, part() {}, clear() {} }, 0)

/** Keeps the values used last, within its room, and frees values that nobody can ask for. */
export class DeviceMemory<T> {
  readonly moved: Moved = { toDevice: 0, fromDevice: 0 }
  /** Seconds outside runs: `copy` for rows that somebody asked for, and the kinds of `timed`. */
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

  /** Calls with the tensors of feeds and results. */
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

  /** As `use`, for runs that take a while: one after the other, after their rows have arrived in arrays. */
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
        // Parts of rows that made room are read from arrays.
        await this.#haveCome([...feeds, ...outputs.filter((_, i) => !made[i])])
        await this.#arrivals.atMost(ARRIVING_SHARE * this.room)
        await call(given, made)
      } catch (error) {
        failed()
        throw error
      }
      done()
    })
  }

  /** Brings rows to their array and frees them on the device: the caller may change them. */
  arrive(rows: Resident): Promise<void> {
    return this.#inTurn(() => this.fetch(rows))
  }

  /** As `arrive`, at once. @returns a promise where that takes a while @throws where it fails, and in later calls */
  fetch(rows: Resident): void | Promise<void> {
    const kept = this.#of.get(rows)
    this.#refuseLost(rows)
    if (kept && this.#kept.has(kept)) return this.timed('copy', () => this.#leave(kept))
    const coming = this.#arrivals.of(rows)
    return coming && this.timed('copy', () => coming)
  }

  /** Counts the seconds of a call. */
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

  /** Brings all rows to their arrays. After a failed copy `data` throws. */
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

  /** Waits for copies to these arrays. */
  async #haveCome(values: readonly Values[]): Promise<void> {
    for (const one of values) if (isRows(one)) await this.#arrivals.of(wholeOf(one))
  }

  #begin(feeds: readonly Values[], outputs: readonly Values[]) {
    this.#runs++
    const held = (values: Values) => values.isConstant || values.drop
    for (const feed of feeds) // marks them as used, so that none makes room for another
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

  /** Undefined where the values of this run leave no room. */
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

  /** Frees more where the device has less room than was said. Undefined where it has none left. */
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

  /** Frees values, after a copy to their array where the device's are newer. */
  #leave(kept: Kept<T>): void | Promise<void> {
    const rows = kept.newerThan?.deref()
    if (!rows) return this.#release(kept)
    const copying = (isWanted: () => boolean) => this.tensors.read(rows.host, rows.shape, kept.there, isWanted)
    const come = this.#arrivals.add(rows, kept.bytes, copying, error => {
      kept.lost = error // for later calls
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
