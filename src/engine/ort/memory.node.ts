// Tensors in the memory of a GPU, by ONNX Runtime's C interface.
import { type Data, type ElementType, elementType, Graph, type Value } from '../../formats/onnx.ts'
import { elements } from '../../formats/tensors.ts'
import { type Api, allocatorOf, layoutOf, type Pointer, tensorOf } from './c.node.ts'
import { faulting } from './faults.ts'
import type { DeviceTensors } from './memory.ts'

/** The interface, with runs that throw DeviceError when the device is at fault. */
export function faultingRuns(api: Api | undefined, device: string): Api | undefined {
  if (!api) return undefined
  const Run: Api['Run'] = (...args) => {
    try {
      api.Run(...args)
    } catch (cause) {
      faulting(device)(cause)
    }
  }
  return { ...api, Run }
}

export class NativeTensors implements DeviceTensors<Pointer> {
  /** Sessions for copies, parts and zeros, by type and number of dimensions. The first owns the allocator. */
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

  part(whole: Pointer, first: number, shape: readonly number[], there: Pointer): void {
    const [rows, ...others] = shape
    const from = first / elements(others)
    const build = (g: Graph, [, ...dims]: string[]) => {
      const ends = ['from', 'to'].map(name => g.input(name, 'int64', [1]))
      return g.op('Slice', [g.input('x', 'float32', ['n', ...dims]), ...ends, g.constant('int64', [0])])
    }
    const ends = [from, from + rows].map(row => BigInt64Array.of(BigInt(row)))
    this.#run(this.#session('float32', shape.length, 'part', build), { x: whole, from: ends[0], to: ends[1] }, there)
  }

  clear(shape: readonly number[], there: Pointer): void {
    const build = (g: Graph, dims: string[]) =>
      g.op('Expand', [g.constant('float32', [0]), g.input('shape', 'int64', [dims.length])])
    this.#run(
      this.#session('float32', shape.length, 'zeros', build),
      { shape: BigInt64Array.from(shape, BigInt) },
      there,
    )
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
      const [x, y] = way(own)
      this.#run(this.#session(elementType(here), shape.length), { x }, y)
    } finally {
      this.api.ReleaseValue(own)
    }
  }

  /** @param feeds tensors, or integers in this machine's memory */
  #run(session: Pointer, feeds: Readonly<Record<string, Pointer | BigInt64Array<ArrayBuffer>>>, y: Pointer): void {
    const made: Pointer[] = []
    const inputs = BigUint64Array.from(Object.values(feeds), feed => {
      if (typeof feed === 'object' && feed) made.push(tensorOf(this.api, feed, [feed.length]))
      return (typeof feed === 'bigint' ? feed : made.at(-1)) as bigint
    })
    try {
      this.api.Run(session, null, Object.keys(feeds), inputs, inputs.length, ['y'], 1, BigUint64Array.of(y as bigint))
    } finally {
      for (const tensor of made) this.api.ReleaseValue(tensor)
    }
  }

  /** @param build adds the output, of these dimensions */
  #session(type: ElementType, axes: number, name = 'copy', build = identity(type)): Pointer {
    const key = `${name} ${type} ${axes}`
    let session = this.#copies.get(key)
    if (!session) {
      const dims = Array.from({ length: axes }, (_, axis) => `n${axis}`)
      const g = new Graph(name)
      g.output('y', build(g, dims), type, dims)
      session = this.open(g)
      this.#copies.set(key, session)
    }
    return session
  }
}

const identity =
  (type: ElementType) =>
  (g: Graph, dims: string[]): Value =>
    g.op('Identity', [g.input('x', type, dims)])
