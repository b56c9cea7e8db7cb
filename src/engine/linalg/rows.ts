// What is done with the rows of matrices [n, d] beside products, where they lie: on a device by graphs in float32, from which a number a row comes
// here at most, and which are added up here; in this machine's memory by loops, which are through before a runtime has begun.

import { elementType, Graph, type Value } from '../../formats/onnx.ts'
import type { Floats } from '../../formats/tensors.ts'
import type { Run } from '../graph-runtime.ts'
import { type ArrayOf, copyRows, type Values, values } from '../values.ts'
import { pickRows } from './scatter.ts'
import { addTo, dot } from './sums.ts'

/** Of an engine. */
interface On {
  readonly run: Run
  readonly array: ArrayOf
}

/** Gives their memory on a device back. */
export function drop(...all: readonly Values<Floats>[]): void {
  for (const rows of all) rows.drop?.()
}

/** The same rows again, to be changed. */
export async function copied(on: On, x: Values<Floats>): Promise<Values<Floats>> {
  const copy = on.array(x.shape)
  await copyRows(on.run, x, copy)
  return copy
}

/** The rows `at` of `x` [n, d]: [at.length, d]. */
export async function rowsAt(on: On, x: Values<Floats>, at: Int32Array): Promise<Values<Floats>> {
  const shape = [at.length, x.shape[1]]
  if (!x.drop) return values(pickRows(x.data, at, shape[1]), shape)
  const y = on.array(shape)
  await there(on, 'at', { x, at: values(at, [at.length]) }, y, (g, { x, at }) => g.op('Gather', [x, at], { axis: 0 }))
  return y
}

/**
 * `x[at] ← x[at] + update − less` in place.
 * @param x [n, d] @param at none twice @param update and `less` [at.length, d], which must be here where `x` is
 */
export async function addRows(
  on: On,
  x: Values<Floats>,
  at: Int32Array,
  update: Values<Floats>,
  less?: Values<Floats>,
): Promise<void> {
  if (!x.drop) {
    const [d, by] = [x.shape[1], less ? update.data.map((v, i) => v - less.data[i]) : update.data]
    for (const [i, row] of at.entries()) addTo(x.data.subarray(row * d, (row + 1) * d), by.subarray(i * d, (i + 1) * d))
    return
  }
  const feeds = { x, update, less, at: values(BigInt64Array.from(at, BigInt), [at.length, 1]) }
  await there(on, less ? 'add difference' : 'add', feeds, x, (g, { x, update, less, at }) => {
    const by = less ? g.op('Sub', [update, less]) : update
    return g.op('ScatterND', [x, at, by], { reduction: 'add' })
  })
}

/** `x ← x + times (y − z)` in place, of matrices of one shape. @param z zeros where there is none */
export async function addTimes(on: On, x: Values<Floats>, times: number, y: Values<Floats>, z?: Values<Floats>) {
  if (!x.drop) {
    const [to, from] = [x.data, y.data]
    if (z) for (let i = 0; i < to.length; i++) to[i] += times * (from[i] - z.data[i])
    else for (let i = 0; i < to.length; i++) to[i] += times * from[i]
    return
  }
  const feeds = { x, y, z, times: values(Float32Array.of(times), []) }
  await there(on, z ? 'lean' : 'sum', feeds, x, (g, { x, y, z, times }) =>
    g.op('Add', [x, g.op('Mul', [z ? g.op('Sub', [y, z]) : y, times])]),
  )
}

/** Each row of `x` [n, d] and `times` `row` [d]: others. */
export async function withRow(on: On, x: Values<Floats>, times: number, row: Floats): Promise<Values<Floats>> {
  const y = on.array(x.shape)
  const more = Float64Array.from(row, v => times * v)
  if (x.drop) {
    const feeds = { x, more: values(Float32Array.from(more), [more.length]) }
    await there(on, 'with one', feeds, y, (g, { x, more }) => g.op('Add', [x, more]))
  } else for (let i = 0; i < y.data.length; i++) y.data[i] = x.data[i] + more[i % more.length]
  return y
}

/** Each column of `h` [m, n] times its factor, in place. */
export async function scaleColumns(on: On, h: Values<Floats>, factors: Floats): Promise<void> {
  if (h.drop) {
    const feeds = { h, factors: values(factors, [factors.length]) }
    return there(on, 'scaled', feeds, h, (g, { h, factors }) => g.op('Mul', [h, factors]))
  }
  const { data } = h
  for (let i = 0; i < data.length; ) for (const factor of factors) data[i++] *= factor
}

/** Norms of the rows of `x` [n, d]. */
export async function rowNorms(on: On, x: Values<Floats>): Promise<number[]> {
  const [n, d] = x.shape
  if (!x.drop) return rowsOf(x.data, d).map(row => Math.sqrt(dot(row, row)))
  const found = values(new Float32Array(n), [n])
  await there(on, 'norms', { x }, found, (g, { x }) => normsOf(g, x))
  return [...found.data]
}

/** Cosines between the rows of `x` and `y` [n, d]; of a row of zeros 0. */
export async function cosines(on: On, x: Values<Floats>, y: Values<Floats>): Promise<number[]> {
  const [n, d] = x.shape
  if (!x.drop) {
    const others = rowsOf(y.data, d)
    return rowsOf(x.data, d).map((a, t) => {
      const b = others[t]
      return dot(a, b) / (Math.sqrt(dot(a, a) * dot(b, b)) || 1)
    })
  }
  const found = values(new Float32Array(n), [n])
  await there(on, 'cosines', { x, y }, found, (g, { x, y }) => {
    const along = g.op('ReduceSum', [g.op('Mul', [x, y]), g.constant('int64', [1])], { keepdims: 0 })
    const norms = g.op('Mul', [normsOf(g, x), normsOf(g, y)])
    return g.op('Div', [along, g.op('Add', [norms, g.constant('float32', [1e-30])])])
  })
  return [...found.data]
}

/**
 * `sum + Σ ‖x − y − alpha (z − y)‖²` over the rows that count of matrices [n, d].
 * @param counts all, where not given
 */
export async function plusDistance(
  on: On,
  sum: number,
  [x, y, z = y]: readonly Values<Floats>[],
  alpha = 0,
  counts: (row: number) => boolean = () => true,
): Promise<number> {
  const [n, d] = x.shape
  if (x.drop) {
    const held = Float32Array.from({ length: n }, (_, row) => Number(counts(row)))
    const feeds = { x, y, z, held: values(held, [n, 1]), alpha: values(Float32Array.of(alpha), []) }
    const found = values(new Float32Array(1), [])
    await there(on, 'distance', feeds, found, (g, { x, y, z, held, alpha }) => {
      const wanted = g.op('Mul', [g.op('Sub', [z, y]), alpha])
      const lacking = g.op('Sub', [g.op('Sub', [x, y]), wanted])
      return g.op('ReduceSumSquare', [g.op('Mul', [lacking, held])], { keepdims: 0 })
    })
    return sum + found.data[0]
  }
  const [a, b, c] = [x.data, y.data, z.data]
  let total = sum
  for (let row = 0; row < n; row++)
    if (counts(row)) for (let i = row * d; i < (row + 1) * d; i++) total += (a[i] - b[i] - alpha * (c[i] - b[i])) ** 2
  return total
}

const rowsOf = (all: Floats, d: number): Floats[] =>
  Array.from({ length: all.length / d }, (_, row) => all.subarray(row * d, (row + 1) * d))

const normsOf = (g: Graph, x: Value): Value => g.op('ReduceL2', [x, g.constant('int64', [1])], { keepdims: 0 })

/** Runs `result = of(feeds)`. @param name which graphs of other operators have not */
async function there<K extends string>(
  on: On,
  name: string,
  feeds: Readonly<Record<K, Values | undefined>>,
  result: Values,
  of: (g: Graph, inputs: Readonly<Record<K, Value>>) => Value,
): Promise<void> {
  const build = () => {
    const g = new Graph(name)
    const dimensions = (name: string, { shape }: Values) => shape.map((_, i) => `${name}${i}`)
    const inputs = Object.entries<Values | undefined>(feeds).map(([name, feed]) => {
      const type = feed && (feed.drop ? 'float32' : elementType(feed.data))
      return [name, type && g.input(name, type, dimensions(name, feed))]
    })
    g.output('result', of(g, Object.fromEntries(inputs)), 'float32', dimensions('result', result))
    return g
  }
  await on.run(`rows ${name}`, build, feeds, { result })
}
