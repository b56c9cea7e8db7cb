// `Σ H Hᵀ` [n, n], which is symmetric. Graphs compute the square above the diagonal and halve the two triangles again:
// s halvings leave (1 + 2⁻ˢ) / 2 of the work, in products as large as can be. A BLAS has a routine (syrk) for the part
// on and above the diagonal.
import { Graph } from '../../formats/onnx.ts'
import type { Floats } from '../../formats/tensors.ts'
import type { Run } from '../graph-runtime.ts'
import { type ArrayOf, hostOf, inMemory, type Rows, type Values, values } from '../values.ts'
import type { SymmetricSum } from './linalg.ts'
import { mirrorUpper, transposeInto } from './scatter.ts'

/** Triangles are halved down to this size: smaller products cost more than they save. */
const TRIANGLE = 192
/** In wide layers a triangle may be this part of the width: 1 / 32 leaves 1.6 % more than half of the work. */
const TRIANGLE_SHARE = 1 / 32

/** For products that do not add to float32 sums by themselves, as in bfloat16. */
export interface Apart {
  /** Size of triangles. */
  readonly triangle: number
  /** Adds the products up. */
  readonly run: Run
}

/** Rows `from` to `from + size` of `H`. */
interface Range {
  readonly from: number
  readonly size: number
}

/** The product of two ranges [rows.size, columns.size]. */
interface Block {
  readonly rows: Range
  readonly columns: Range
  /** Index of its first element in the array of all blocks. */
  readonly first: number
}

export class GraphSum implements SymmetricSum {
  readonly #blocks: readonly Block[]
  readonly #all: Floats // of all blocks
  /** Views on `#all`. */
  readonly #sums: readonly Values<Floats>[]
  #products?: Floats // of one batch, for products that are added up apart
  #empty = true

  constructor(
    readonly n: number,
    readonly kind: string,
    readonly run: Run,
    readonly apart?: Apart,
    array: ArrayOf = inMemory,
  ) {
    const smallest = Math.max(apart?.triangle ?? TRIANGLE, n * TRIANGLE_SHARE)
    let size = 0
    this.#blocks = halve({ from: 0, size: n }, smallest).map(([rows, columns]) => {
      const first = size
      size += rows.size * columns.size
      return { rows, columns, first }
    })
    this.#all = new Float32Array(size)
    this.#sums = this.#blocks.map(block => array([block.rows.size, block.columns.size], ofBlock(this.#all, block)))
  }

  async parts(): Promise<readonly [Floats]> {
    for (const sum of this.#sums) await hostOf(sum)
    return [this.#all]
  }

  async add(rows: Rows): Promise<void> {
    const { n, kind, apart } = this
    const first = this.#empty // nothing to add to: reading untouched memory would cost as much as writing it
    const adds = !first && !apart
    if (!first && apart) this.#products ??= new Float32Array(this.#all.length)
    const products = this.#products
    const feeds = { ...(await this.#rows(rows)), ...(adds && this.#named('', this.#sums)) }
    const whole = 'h' in feeds
    const build = () => syrkGraph(this.#blocks, adds, whole ? n : undefined)
    const key = `${kind} ${n}${adds ? ' added' : ''}${whole ? ' whole' : ''}`
    const results = products
      ? this.#blocks.map(block => values(ofBlock(products, block), [block.rows.size, block.columns.size]))
      : this.#sums
    await this.run(key, build, feeds, this.#named('new ', results))
    if (products && apart) {
      const [s, p] = [this.#all, products].map(all => values(all, [all.length]))
      await apart.run(`${kind} sums`, sumGraph, { s, p }, { y: s })
    }
    this.#empty = false
  }

  /** By names of the graph's inputs and outputs. */
  #named = (prefix: string, of: readonly Values[]): Record<string, Values> =>
    Object.fromEntries(of.map((values, i) => [`${prefix}product${i}`, values]))

  /** All of H where it may lie on a device, otherwise each range of its rows. */
  async #rows(rows: Rows): Promise<Record<string, Values>> {
    if ('shape' in rows && rows.drop) return { h: rows }
    const h = await hostOf(rows)
    const length = h.length / this.n
    const ranges = this.#blocks.flatMap(({ rows, columns }) => [rows, columns])
    return Object.fromEntries(
      ranges.map(range => {
        const { from, size } = range
        return [nameOf(range), values(h.subarray(from * length, (from + size) * length), [size, length])]
      }),
    )
  }

  async whole(): Promise<Floats> {
    const { n } = this
    const whole = new Float32Array(n * n)
    const [all] = await this.parts()
    for (const block of this.#blocks) {
      const { rows, columns } = block
      const sum = ofBlock(all, block)
      for (let i = 0; i < rows.size; i++)
        whole.set(sum.subarray(i * columns.size, (i + 1) * columns.size), (rows.from + i) * n + columns.from)
      if (rows !== columns) transposeInto(whole, columns.from * n + rows.from, n, sum, columns.size)
    }
    return whole
  }

  async inner(of: (i: number, from: number, part: Floats) => number): Promise<number> {
    let total = 0
    const [all] = await this.parts()
    for (const block of this.#blocks) {
      const { rows, columns } = block
      const sum = ofBlock(all, block)
      for (let r = 0; r < rows.size; r++) {
        const part = sum.subarray(r * columns.size, (r + 1) * columns.size)
        total += (rows === columns ? 1 : 2) * of(rows.from + r, columns.from, part)
      }
    }
    return total
  }
}

/** Rows and columns of the blocks of a square on the diagonal. */
function halve(square: Range, smallest: number): [rows: Range, columns: Range][] {
  const { from, size } = square
  if (size <= smallest) return [[square, square]]
  const half = Math.floor(size / 2)
  const upper = { from, size: half }
  const lower = { from: from + half, size: size - half }
  return [[upper, lower], ...halve(upper, smallest), ...halve(lower, smallest)]
}

const ofBlock = (all: Floats, { rows, columns, first }: Block): Floats =>
  all.subarray(first, first + rows.size * columns.size)

const nameOf = ({ from, size }: Range): string => `h${from}_${size}`

/** `H_i H_jᵀ` for each block. @param adds to the sum so far @param n rows of H, where H comes as a whole */
function syrkGraph(blocks: readonly Block[], adds: boolean, n?: number): Graph {
  const g = new Graph('syrk')
  const h = n === undefined ? undefined : g.input('h', 'float32', [n, 'n'])
  const ranges = new Map<string, string>()
  const input = (range: Range): string => {
    const { from, size } = range
    const name = nameOf(range)
    const ints = () => [from, from + size, 0].map(at => g.constant('int64', [at]))
    const made = ranges.get(name) ?? (h ? g.op('Slice', [h, ...ints()]) : g.input(name, 'float32', [size, 'n']))
    ranges.set(name, made)
    return made
  }
  for (const [i, { rows, columns }] of blocks.entries()) {
    const shape = [rows.size, columns.size]
    const operands = [input(rows), input(columns), ...(adds ? [g.input(`product${i}`, 'float32', shape)] : [])]
    g.output(`new product${i}`, g.op('Gemm', operands, { transB: 1 }), 'float32', shape)
  }
  return g
}

function sumGraph(): Graph {
  const g = new Graph('sums')
  g.output('y', g.op('Add', [g.input('s', 'float32', ['n']), g.input('p', 'float32', ['n'])]), 'float32', ['n'])
  return g
}

export class UpperSum implements SymmetricSum {
  readonly #upper: Floats // [n, n], on and above the diagonal
  #empty = true

  /** @param syrk `sum ← β sum + h hᵀ` on and above the diagonal */
  constructor(
    readonly n: number,
    readonly syrk: (h: Floats, sum: Floats, beta: 0 | 1) => Promise<void>,
  ) {
    this.#upper = new Float32Array(n * n)
  }

  /** Rows from the diagonal on. */
  parts = async () => Array.from({ length: this.n }, (_, i) => this.#upper.subarray(i * (this.n + 1), (i + 1) * this.n))

  async add(h: Rows): Promise<void> {
    await this.syrk(await hostOf(h), this.#upper, this.#empty ? 0 : 1)
    this.#empty = false
  }

  async whole(): Promise<Floats> {
    mirrorUpper(this.#upper, this.n)
    return this.#upper
  }

  async inner(of: (i: number, from: number, part: Floats) => number): Promise<number> {
    let total = 0
    for (let i = 0, at = 0; i < this.n; i++, at += this.n + 1) {
      const [diagonal, right] = [this.#upper.subarray(at, at + 1), this.#upper.subarray(at + 1, (i + 1) * this.n)]
      total += of(i, i, diagonal) + 2 * of(i, i + 1, right)
    }
    return total
  }
}
