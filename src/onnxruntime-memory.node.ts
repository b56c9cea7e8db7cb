// Tensors in the memory of a GPU, by ONNX Runtime's C interface.
import { type Data, type ElementType, elementType, Graph } from './formats/onnx.ts'
import { type Api, allocatorOf, layoutOf, type Pointer, tensorOf } from './onnxruntime-c.node.ts'
import type { DeviceTensors } from './onnxruntime-memory.ts'

export class NativeTensors implements DeviceTensors<Pointer> {
  /** Copies, by type and number of dimensions. The first session's allocator is the memory, and lives as long. */
  readonly #copies = new Map<string, Pointer>()
  #allocator: Pointer = null

  /** @param name of the memory in ONNX Runtime @param open a session on the device */
  constructor(
    readonly api: Api,
    readonly name: string,
    readonly open: (graph: Graph) => Pointer,
  ) {}

  allocate(type: ElementType, shape: readonly number[]): Pointer | undefined {
    this.#allocator ??= allocatorOf(this.api, this.#session(type, shape.length), this.name)
    try {
      return this.api.CreateTensorAsOrtValue(this.#allocator, ...layoutOf(type, shape))
    } catch {
      return undefined
    }
  }

  write(here: Data, shape: readonly number[], there: Pointer): void {
    this.#copy(here, shape, own => [own, there])
  }

  read(here: Data, shape: readonly number[], there: Pointer): void {
    this.#copy(here, shape, own => [there, own])
  }

  release(there: Pointer): void {
    this.api.ReleaseValue(there)
  }

  close(): void {
    if (this.#allocator) this.api.ReleaseAllocator(this.#allocator)
    this.#allocator = null
    for (const session of this.#copies.values()) this.api.ReleaseSession(session)
    this.#copies.clear()
  }

  #copy(here: Data, shape: readonly number[], way: (own: Pointer) => [from: Pointer, to: Pointer]): void {
    const own = tensorOf(this.api, here, shape)
    try {
      const [from, to] = way(own).map(t => BigUint64Array.of(t as bigint))
      this.api.Run(this.#session(elementType(here), shape.length), null, ['x'], from, 1, ['y'], 1, to)
    } finally {
      this.api.ReleaseValue(own)
    }
  }

  #session(type: ElementType, axes: number): Pointer {
    const key = `${type} ${axes}`
    let session = this.#copies.get(key)
    if (!session) {
      const dims = Array.from({ length: axes }, (_, axis) => `n${axis}`)
      const g = new Graph('copy')
      g.output('y', g.op('Identity', [g.input('x', type, dims)]), type, dims)
      session = this.open(g)
      this.#copies.set(key, session)
    }
    return session
  }
}
