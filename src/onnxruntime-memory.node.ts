// What lies in the memory of a GPU: constants (weights, tables, norms), which go there once, and rows that change, which stay until somebody asks
// for them here. ONNX Runtime copies all else by itself with each run.
import { type Data, type ElementType, elementType, Graph } from './formats/onnx.ts'
import { elements, type Floats } from './formats/tensors.ts'
import { type Api, allocatorOf, layoutOf, type Pointer, tensorOf } from './onnxruntime-c.node.ts'
import { type ArrayOf, bytesOf, type Moved, type Values } from './values.ts'

/** Rows that change. */
class Resident implements Values<Floats> {
  #host?: Floats

  constructor(
    readonly memory: DeviceMemory,
    readonly shape: readonly number[],
    host?: Floats,
  ) {
    this.#host = host
  }

  /** The array here, whether or not the device's is newer. */
  get host(): Floats {
    this.#host ??= new Float32Array(elements(this.shape))
    return this.#host
  }

  get data(): Floats {
    this.memory.fetch(this)
    return this.host
  }

  drop(): void {
    this.memory.drop(this)
  }
}

const hostDataOf = (values: Values): Data => (values instanceof Resident ? values.host : values.data)

const typeOf = (values: Values): ElementType => (values instanceof Resident ? 'float32' : elementType(values.data))

interface Kept {
  readonly tensor: Pointer
  readonly bytes: number
  /** Those which have not what this has. */
  readonly newerThan?: WeakRef<Resident>
  /** The last run that used it. */
  run: number
}

type Place = Pointer | undefined

/** What was used last stays, as long as there is room. What nobody can ask for any more goes. */
export class DeviceMemory {
  readonly moved: Moved = { toDevice: 0, fromDevice: 0 }
  readonly #kept = new Set<Kept>() // the last used comes last
  readonly #of = new WeakMap<Values, Kept>()
  readonly #gone = new FinalizationRegistry<Kept>(kept => this.#release(kept))
  /** Copies, by type and number of dimensions. The first session's allocator is the memory, and lives as long. */
  readonly #copies = new Map<string, Pointer>()
  #allocator: Pointer = null
  #bytes = 0
  #runs = 0

  /** @param name of the memory in ONNX Runtime @param room bytes @param open a session on the device */
  constructor(
    readonly api: Api,
    readonly name: string,
    readonly room: number,
    readonly open: (graph: Graph) => Pointer,
  ) {}

  readonly array: ArrayOf = (shape, data) => new Resident(this, shape, data)

  /** Calls with the tensors of feeds and results that are there, undefined for those that are arrays here. */
  use(feeds: readonly Values[], outputs: readonly Values[], call: (feeds: Place[], results: Place[]) => void): void {
    this.#runs++
    const given = feeds.map(feed => (feed.isConstant || feed.drop ? this.#use(feed) : undefined))
    const made: (Kept | undefined)[] = []
    try {
      for (const output of outputs)
        made.push(output instanceof Resident ? this.#make(output, new WeakRef(output)) : undefined)
      call(
        given,
        made.map(kept => kept?.tensor),
      )
    } catch (error) {
      for (const kept of made) if (kept) this.#release(kept)
      throw error
    }
    this.moved.toDevice += bytesOf(feeds.filter((_, i) => !given[i]))
    this.moved.fromDevice += bytesOf(outputs.filter((_, i) => !made[i]))
    for (const [i, output] of outputs.entries()) {
      this.drop(output) // what it was
      const kept = made[i]
      if (kept) this.#hold(output, kept)
    }
  }

  /** A tensor of what an array is here. */
  here = (values: Values): Pointer => tensorOf(this.api, hostDataOf(values), values.shape)

  /** Brings rows here, and keeps nothing of them there: they may change. */
  fetch(rows: Resident): void {
    const kept = this.#of.get(rows)
    if (kept && this.#kept.has(kept)) this.#leave(kept)
  }

  drop(values: Values): void {
    const kept = this.#of.get(values)
    if (kept) this.#release(kept)
  }

  /** Brings here what is newer there. */
  close(): void {
    try {
      for (const kept of this.#kept) this.#leave(kept)
    } finally {
      for (const kept of this.#kept) this.#release(kept) // of a device that is lost
      if (this.#allocator) this.api.ReleaseAllocator(this.#allocator)
      this.#allocator = null
      for (const session of this.#copies.values()) this.api.ReleaseSession(session)
      this.#copies.clear()
    }
  }

  #use(values: Values): Place {
    let kept = this.#of.get(values)
    if (!kept || !this.#kept.delete(kept)) {
      kept = this.#make(values)
      if (!kept) return undefined
      this.#hold(values, kept)
      try {
        this.#copy(values, kept.tensor, 'toDevice')
      } catch (error) {
        this.#release(kept)
        throw error
      }
    }
    this.#kept.add(kept)
    kept.run = this.#runs
    return kept.tensor
  }

  /** Undefined where there is no room beside what the same run uses. */
  #make(values: Values, newerThan?: WeakRef<Resident>): Kept | undefined {
    const bytes = bytesOf([values])
    if (bytes === 0 || bytes > this.room) return undefined
    for (const kept of this.#kept) {
      if (this.#bytes + bytes <= this.room || kept.run === this.#runs) break
      this.#leave(kept)
    }
    if (this.#bytes + bytes > this.room) return undefined
    this.#allocator ??= allocatorOf(this.api, this.#session(values), this.name)
    const tensor = this.#allocate(values)
    if (!tensor) return undefined
    const kept = { tensor, bytes, newerThan, run: this.#runs }
    this.#bytes += bytes
    this.#kept.add(kept)
    return kept
  }

  /** Less room than was said is all the room there is. Undefined where a device has none left. */
  #allocate(values: Values): Place {
    const layout = layoutOf(typeOf(values), values.shape)
    for (;;)
      try {
        return this.api.CreateTensorAsOrtValue(this.#allocator, ...layout)
      } catch {
        const [oldest] = this.#kept
        if (!oldest || oldest.run === this.#runs) return undefined
        this.#leave(oldest)
      }
  }

  #hold(values: Values, kept: Kept): void {
    this.#of.set(values, kept)
    this.#gone.register(values, kept, kept)
  }

  /** To make room, or for those who ask. */
  #leave(kept: Kept): void {
    const rows = kept.newerThan?.deref()
    if (rows) this.#copy(rows, kept.tensor, 'fromDevice')
    this.#release(kept)
  }

  #release(kept: Kept): void {
    if (!this.#kept.delete(kept)) return
    this.#gone.unregister(kept)
    this.#bytes -= kept.bytes
    this.api.ReleaseValue(kept.tensor)
  }

  #copy(values: Values, there: Pointer, way: keyof Moved): void {
    const here = this.here(values)
    try {
      const [from, to] = (way === 'toDevice' ? [here, there] : [there, here]).map(t => BigUint64Array.of(t as bigint))
      this.api.Run(this.#session(values), null, ['x'], from, 1, ['y'], 1, to)
      this.moved[way] += bytesOf([values])
    } finally {
      this.api.ReleaseValue(here)
    }
  }

  #session(values: Values): Pointer {
    const type = typeOf(values)
    const dims = values.shape.map((_, axis) => `n${axis}`)
    const key = `${type} ${dims.length}`
    let session = this.#copies.get(key)
    if (!session) {
      const g = new Graph('copy')
      g.output('y', g.op('Identity', [g.input('x', type, dims)]), type, dims)
      session = this.open(g)
      this.#copies.set(key, session)
    }
    return session
  }
}
