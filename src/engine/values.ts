// What graphs take and give: handles of tensors, which are typed arrays where they run in the caller's memory.
import { type Data, Graph } from '../formats/onnx.ts'
import { elements, type Floats } from '../formats/tensors.ts'

/** A handle of values, wherever the engine keeps them. */
export interface Tensor {
  readonly shape: readonly number[]
}

/** A handle with an array of the caller's. It may be a view: the runtime reads and writes it in place. */
export interface Values<T extends Data = Data> extends Tensor {
  readonly data: T
  /** The array never changes, and many runs read it: a device may keep a copy. */
  readonly isConstant?: true
  /** For values that may lie on a device: frees them there. Reading `data` frees them, too. */
  drop?(): void
  /** Brings them from the device. Outside a page, `data` does the same at once. */
  arrive?(): Promise<void>
  /** A view on rows `from` to `to` on the device, to be read. */
  part?(from: number, to: number): Values<Floats>
}

/** Rows of a matrix whose width the reader knows. */
export type Rows = Floats | Values<Floats>

export const asValues = (rows: Rows, width: number): Values<Floats> =>
  'shape' in rows ? rows : values(rows, [rows.length / width, width])

/** The array, once it is in this machine's memory. */
export async function hostOf(rows: Rows): Promise<Floats> {
  if (!('shape' in rows)) return rows
  await rows.arrive?.()
  return rows.data
}

/** The array, to be filled. Its values are lost, also on a device. */
export function hostRoomOf(rows: Values<Floats>): Floats {
  rows.drop?.()
  return rows.data
}

/** A view on rows `from` to `to`, to be read. */
export const rowsOf = (rows: Values<Floats>, from: number, to: number): Values<Floats> => {
  if (rows.part) return rows.part(from, to)
  const width = elements(rows.shape.slice(1))
  return values(rows.data.subarray(from * width, to * width), [to - from, ...rows.shape.slice(1)])
}

export const values = <T extends Data>(data: T, shape: readonly number[]): Values<T> => ({ data, shape })

export const constant = <T extends Data>(data: T, shape: readonly number[]): Values<T> => ({
  data,
  shape,
  isConstant: true,
})

/**
 * Makes values that change and that stay where a run wrote them. Reading `data` brings them into this machine's memory,
 * where the caller may change them.
 * @param data @default zeros, allocated when they are read
 */
export type ArrayOf = (shape: readonly number[], data?: Floats) => Values<Floats>

/** On the CPU. */
export const inMemory: ArrayOf = (shape, data = new Float32Array(elements(shape))) => values(data, shape)

type RunOne = (key: string, build: () => Graph, feeds: { x: Tensor }, outputs: { y: Tensor }) => Promise<void>

/** `to ← from` [n, d], on the device where both may lie on one. @param run of an engine */
export async function copyRows(run: RunOne, from: Values<Floats>, to: Values<Floats>): Promise<void> {
  if (from.drop && to.drop) return run('fork', copyGraph, { x: from }, { y: to })
  const here = await hostOf(from)
  hostRoomOf(to).set(here)
}

function copyGraph(): Graph {
  const g = new Graph('copy')
  g.output('y', g.op('Identity', [g.input('x', 'float32', ['n', 'd'])]), 'float32', ['n', 'd'])
  return g
}

/** Bytes of feeds and results that went to a device and came back. */
export type Moved = Record<'toDevice' | 'fromDevice', number>

/** Bytes of arrays on a device. float64 stays on the CPU. */
export const bytesOf = (arrays: readonly Values[]): number =>
  arrays.reduce((sum, of) => sum + (of.drop ? 4 * elements(of.shape) : floatBytes(of.data)), 0)

const floatBytes = (data: Data): number => (data instanceof Float64Array ? 0 : data.byteLength)
