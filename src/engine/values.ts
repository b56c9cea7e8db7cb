// What graphs take and give: handles of tensors, which are typed arrays where they run in the caller's memory.
import { type Data, Graph } from '../formats/onnx.ts'
import { elements, type Floats } from '../formats/tensors.ts'

/** A handle: values where the engine keeps them. Values show them. */
export interface Tensor {
  readonly shape: readonly number[]
}

/** A handle that is the caller's array. Views on larger buffers are fine: the runtime reads and writes them in place. */
export interface Values<T extends Data = Data> extends Tensor {
  readonly data: T
  /** It does not change as long as it is there, and many runs read it: a copy may stay where they run. */
  readonly isConstant?: true
  /** Where they may lie on a device, whose copy asking for `data` ends: forgets them. */
  drop?(): void
  /** Brings them here from there. Without it `data` does so, where that can be done at once: not in a page. */
  arrive?(): Promise<void>
  /** Rows `from` to `to` of them there, to be read. */
  part?(from: number, to: number): Values<Floats>
}

/** Rows of a matrix, of a width that is known. */
export type Rows = Floats | Values<Floats>

export const asValues = (rows: Rows, width: number): Values<Floats> =>
  'shape' in rows ? rows : values(rows, [rows.length / width, width])

/** Theirs, once they are here. */
export async function hostOf(rows: Rows): Promise<Floats> {
  if (!('shape' in rows)) return rows
  await rows.arrive?.()
  return rows.data
}

/** The same array, to be filled: what they were, wherever, is not wanted any more. */
export function hostRoomOf(rows: Values<Floats>): Floats {
  rows.drop?.()
  return rows.data
}

/** Rows `from` to `to`, to be read where they are: a view. */
export const rowsOf = (rows: Values<Floats>, from: number, to: number): Values<Floats> => {
  if (rows.part) return rows.part(from, to)
  const width = elements(rows.shape.slice(1))
  return values(rows.data.subarray(from * width, to * width), [to - from, ...rows.shape.slice(1)])
}

export const values = <T extends Data>(data: T, shape: readonly number[]): Values<T> => ({ data, shape })

export const constant = <T extends Data>(data: T, shape: readonly number[]): Values<T> => ({
  ...{ data, shape },
  isConstant: true,
})

/**
 * Values that change, and stay where they were last. Asking for `data` brings them back, to be changed there, too.
 * @param data theirs @default room for results, made when it is asked for
 */
export type ArrayOf = (shape: readonly number[], data?: Floats) => Values<Floats>

/** Where there is one memory. */
export const inMemory: ArrayOf = (shape, data = new Float32Array(elements(shape))) => values(data, shape)

type RunOne = (key: string, build: () => Graph, feeds: { x: Tensor }, outputs: { y: Tensor }) => Promise<void>

/** `to ← from` [n, d], on a device where both may be there. @param run of an engine */
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

/** Bytes of feeds and results that went over to a device and came back. */
export type Moved = Record<'toDevice' | 'fromDevice', number>

/** Those of arrays that a device takes; float64 stays with the CPU. */
export const bytesOf = (arrays: readonly Values[]): number =>
  arrays.reduce((sum, of) => sum + (of.drop ? 4 * elements(of.shape) : floatBytes(of.data)), 0)

const floatBytes = (data: Data): number => (data instanceof Float64Array ? 0 : data.byteLength)
