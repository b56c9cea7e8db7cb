// Constants in the memory of a GPU, where they go once and not with every run: weights, tables, norms. ONNX Runtime copies all else by itself.
import { elementType, Graph } from '../formats/onnx.ts'
import { type Api, allocatorOf, layoutOf, type Pointer, tensorOf } from '../onnxruntime-c.node.ts'
import { bytesOf, type Moved, type Values } from './graph-runtime.ts'

interface Kept {
  readonly tensor: Pointer
  readonly bytes: number
  /** The last run that read it. */
  run: number
}

/** What was read last stays, as long as there is room. What nobody can ask for any more goes. */
export class DeviceMemory {
  readonly moved: Moved = { toDevice: 0, fromDevice: 0 }
  readonly #kept = new Set<Kept>() // the last read comes last
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

  /** The tensors of a run's feeds that are there; undefined for those that are to come from the host. */
  keep(feeds: readonly Values[]): (Pointer | undefined)[] {
    this.#runs++
    return feeds.map(feed => {
      const tensor = feed.isConstant && feed.data.length > 0 ? this.#tensor(feed) : undefined
      if (!tensor) this.moved.toDevice += bytesOf([feed])
      return tensor
    })
  }

  close(): void {
    for (const kept of this.#kept) this.#release(kept)
    if (this.#allocator) this.api.ReleaseAllocator(this.#allocator)
    for (const session of this.#copies.values()) this.api.ReleaseSession(session)
    this.#copies.clear()
  }

  #tensor(values: Values): Pointer | undefined {
    let kept = this.#of.get(values)
    if (!kept || !this.#kept.delete(kept)) {
      if (!this.#makeRoom(values.data.byteLength)) return undefined
      kept = { tensor: this.#upload(values), bytes: values.data.byteLength, run: 0 }
      this.#of.set(values, kept)
      this.#gone.register(values, kept)
      this.#bytes += kept.bytes
    }
    kept.run = this.#runs
    this.#kept.add(kept)
    return kept.tensor
  }

  /** @returns whether there is, beside what the same run reads */
  #makeRoom(bytes: number): boolean {
    for (const kept of this.#kept) {
      if (this.#bytes + bytes <= this.room || kept.run === this.#runs) break
      this.#release(kept)
    }
    return this.#bytes + bytes <= this.room
  }

  #upload(values: Values): Pointer {
    const { api } = this
    const copy = this.#copy(values)
    this.#allocator ??= allocatorOf(api, copy, this.name)
    const { data, shape } = values
    const from = tensorOf(api, data, shape)
    const to = api.CreateTensorAsOrtValue(this.#allocator, ...layoutOf(data, shape))
    try {
      const [input, output] = [from, to].map(tensor => BigUint64Array.of(tensor as bigint))
      api.Run(copy, null, ['x'], input, 1, ['y'], 1, output)
    } catch (error) {
      api.ReleaseValue(to)
      throw error
    } finally {
      api.ReleaseValue(from)
    }
    this.moved.toDevice += data.byteLength
    return to
  }

  #copy({ data, shape }: Values): Pointer {
    const key = `${elementType(data)} ${shape.length}`
    let session = this.#copies.get(key)
    if (!session) {
      const g = new Graph('copy')
      const dims = shape.map((_, axis) => `n${axis}`)
      g.output('y', g.op('Identity', [g.input('x', elementType(data), dims)]), elementType(data), dims)
      session = this.open(g)
      this.#copies.set(key, session)
    }
    return session
  }

  #release(kept: Kept): void {
    if (!this.#kept.delete(kept)) return
    this.#bytes -= kept.bytes
    this.api.ReleaseValue(kept.tensor)
  }
}
