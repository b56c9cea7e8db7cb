// Operations on the rows of matrices [n, d] other than products: loops in this machine's memory, which end before a run
// would have begun, and graphs in float32 on a device, from which one number a row comes back at most.
import { elementType, Graph, type Value } from '../../formats/onnx.ts'
import type { Floats } from '../../formats/tensors.ts'
import type { Engine } from '../engine.ts'
import { copyRows, type Tensor, type Values, values } from '../values.ts'
import { pickRows } from './scatter.ts'
import { addTo, dot } from './sums.ts'

type On = Pick<Engine, 'run' | 'array'>

/** Frees the memory on a device. */
export function drop(...all: readonly Values<Floats>[]): void {
  for (const rows of all) rows.drop?.()
}

/** A copy, to be changed. */
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
  await compute(on, 'at', { x, at: values(at, [at.length]) }, y, (g, { x, at }) => g.op('Gather', [x, at], { axis: 0 }))
  return y
}

/**
 * `x[at] ← x[at] + update − less` in place.
 * @param x [n, d] @param at none twice @param update and `less` [at.length, d], in this machine's memory where `x` is
 */
export async function addRows(
  on: On,
  x: Values<Floats>,
  at: Int32Array,
  update: Values<Floats>,
  less?: Values<Floats>,
): Promise<void> {
  if (!x.drop) {
    const d = x.shape[1]
    const by = less ? update.data.map((v, i) => v - less.data[i]) : update.data
    for (const [i, row] of at.entries()) addTo(x.data.subarray(row * d, (row + 1) * d), by.subarray(i * d, (i + 1) * d))
    return
  }
  const feeds = { x, update, less, at: values(BigInt64Array.from(at, BigInt), [at.length, 1]) }
  await compute(on, less ? 'add difference' : 'add', feeds, x, (g, { x, update, less, at }) => {
    const by = less ? g.op('Sub', [update, less]) : update
    return g.op('ScatterND', [x, at, by], { reduction: 'add' })
  })
}

/** `x ← x + times (y − z)` in place, of matrices of one shape. @param z @default zeros */
export async function addTimes(on: On, x: Values<Floats>, times: number, y: Values<Floats>, z?: Values<Floats>) {
  if (!x.drop) {
    const [to, from] = [x.data, y.data]
    if (z) for (let i = 0; i < to.length; i++) to[i] += times * (from[i] - z.data[i])
    else for (let i = 0; i < to.length; i++) to[i] += times * from[i]
    return
  }
  const feeds = { x, y, z, times: values(Float32Array.of(times), []) }
  await compute(on, z ? 'lean' : 'sum', feeds, x, (g, { x, y, z, times }) =>
    g.op('Add', [x, g.op('Mul', [z ? g.op('Sub', [y, z]) : y, times])]),
  )
}

/** `x + times · row` [n, d], with `row` [d] added to each row. */
export async function withRow(on: On, x: Values<Floats>, times: number, row: Floats): Promise<Values<Floats>> {
  const y = on.array(x.shape)
  const more = Float64Array.from(row, v => times * v)
  if (x.drop) {
    const feeds = { x, more: values(Float32Array.from(more), [more.length]) }
    await compute(on, 'with one', feeds, y, (g, { x, more }) => g.op('Add', [x, more]))
  } else for (let i = 0; i < y.data.length; i++) y.data[i] = x.data[i] + more[i % more.length]
  return y
}

/** Multiplies each column of `h` [m, n] by its factor, in place. */
export async function scaleColumns(on: On, h: Values<Floats>, factors: Floats): Promise<void> {
  if (h.drop) {
    const feeds = { h, factors: values(factors, [factors.length]) }
    return compute(on, 'scaled', feeds, h, (g, { h, factors }) => g.op('Mul', [h, factors]))
  }
  const { data } = h
  for (let i = 0; i < data.length; ) for (const factor of factors) data[i++] *= factor
}

/** Norms of the rows of `x` [n, d]. */
export async function rowNorms(on: On, x: Values<Floats>): Promise<number[]> {
  const [n, d] = x.shape
  if (!x.drop) return rowsOf(x.data, d).map(row => Math.sqrt(dot(row, row)))
  const norms = values(new Float32Array(n), [n])
  await compute(on, 'norms', { x }, norms, (g, { x }) => normsOf(g, x))
  return [...norms.data]
}

/** Cosines between the rows of `x` and `y` [n, d]; 0 for a row of zeros. */
export async function cosines(on: On, x: Values<Floats>, y: Values<Floats>): Promise<number[]> {
  const [n, d] = x.shape
  if (!x.drop) {
    const others = rowsOf(y.data, d)
    return rowsOf(x.data, d).map((a, t) => {
      const b = others[t]
      return dot(a, b) / (Math.sqrt(dot(a, a) * dot(b, b)) || 1)
    })
  }
  const cosines = values(new Float32Array(n), [n])
  await compute(on, 'cosines', { x, y }, cosines, (g, { x, y }) => {
    const along = g.op('ReduceSum', [g.op('Mul', [x, y]), g.constant('int64', [1])], { keepdims: 0 })
    const norms = g.op('Mul', [normsOf(g, x), normsOf(g, y)])
    return g.op('Div', [along, g.op('Add', [norms, g.constant('float32', [1e-30])])])
  })
  return [...cosines.data]
}

/**
 * `sum + Σ ‖x − y − alpha (z − y)‖²` over the rows of matrices [n, d] that count.
 * @param counts @default all rows
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
    const counted = Float32Array.from({ length: n }, (_, row) => Number(counts(row)))
    const feeds = { x, y, z, counted: values(counted, [n, 1]), alpha: values(Float32Array.of(alpha), []) }
    const distance = values(new Float32Array(1), [])
    await compute(on, 'distance', feeds, distance, (g, { x, y, z, counted, alpha }) => {
      const wanted = g.op('Mul', [g.op('Sub', [z, y]), alpha])
      const wrong = g.op('Sub', [g.op('Sub', [x, y]), wanted])
      return g.op('ReduceSumSquare', [g.op('Mul', [wrong, counted])], { keepdims: 0 })
    })
    return sum + distance.data[0]
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

/** Computes one result by a graph. @param name differs where the operators do */
const compute = <Feed extends string>(
  on: On,
  name: string,
  feeds: Readonly<Record<Feed, Tensor | undefined>>,
  result: Tensor,
  formula: (g: Graph, inputs: Readonly<Record<Feed, Value>>) => Value,
): Promise<void> => runFormula(on, `rows ${name}`, feeds, { result }, (g, of) => ({ result: formula(g, of) }))

/**
 * Runs `results = formula(feeds)` as a graph, whose inputs follow from the feeds.
 * @param key names all that the graph depends on, also feeds that are left out
 */
export async function runFormula<Feed extends string, Result extends string>(
  { run }: Pick<Engine, 'run'>,
  key: string,
  feeds: Readonly<Record<Feed, Tensor | undefined>>,
  results: Readonly<Record<Result, Tensor>>,
  formula: (g: Graph, inputs: Readonly<Record<Feed, Value>>) => Readonly<Record<Result, Value>>,
): Promise<void> {
  const dimensions = (name: string, { shape }: Tensor) => shape.map((_, axis) => `${name}${axis}`)
  const build = () => {
    const g = new Graph(key.split(' ', 1)[0])
    const inputs = {} as Record<Feed, Value>
    for (const name of Object.keys(feeds) as Feed[]) {
      const feed = feeds[name] as Values | undefined // as an engine makes tensors
      if (!feed) continue
      const type = feed.drop ? 'float32' : elementType(feed.data)
      inputs[name] = g.input(name, type, dimensions(name, feed))
    }
    const found = formula(g, inputs)
    for (const name of Object.keys(results) as Result[])
      g.output(name, found[name], 'float32', dimensions(name, results[name]))
    return g
  }
  await run(key, build, feeds, results)
}
