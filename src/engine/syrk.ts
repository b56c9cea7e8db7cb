// `Σ H Hᵀ` [n, n], which is symmetric. By graphs it is halved again and again, the square above the diagonal is computed, and the two triangles
// are halved in turn: with s halvings that is (1 + 2⁻ˢ) / 2 of the work, in products as large as can be. A BLAS has a routine for it (syrk),
// which computes what is on and above the diagonal.
import { Graph } from '../formats/onnx.ts'
import type { Floats } from '../formats/tensors.ts'
import { mirrorUpper, transposeInto } from '../linalg/scatter.ts'
import { type Run, type Values, values } from './graph-runtime.ts'
import type { SymmetricSum } from './linalg.ts'

/** Triangles are halved down to this: smaller products are slower than the work that they save. */
const TRIANGLE = 192
/** In wide layers a triangle may be this part of the width: 1 / 32 leaves 1.6 % more than half of the work. */
const TRIANGLE_SHARE = 1 / 32

/** Products that cannot be added to in float32 where they are made, as in bfloat16. */
export interface Apart {
  /** In place of `TRIANGLE`. */
  readonly triangle: number
  /** Adds them up. */
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
  /** Its first element in the array of all blocks. */
  readonly first: number
}

export class GraphSum implements SymmetricSum {
  readonly #blocks: readonly Block[]
  readonly parts: readonly [Floats] // of all blocks
  #products?: Floats // of one batch after the first, where they are not added to the sums in one graph
  #empty = true

  constructor(
    readonly n: number,
    readonly kind: string,
    readonly run: Run,
    readonly apart?: Apart,
  ) {
    const smallest = Math.max(apart?.triangle ?? TRIANGLE, n * TRIANGLE_SHARE)
    let size = 0
    this.#blocks = halve({ from: 0, size: n }, smallest).map(([rows, columns]) => {
      const first = size
      size += rows.size * columns.size
      return { rows, columns, first }
    })
    this.parts = [new Float32Array(size)]
  }

  async add(h: Floats): Promise<void> {
    const { n, kind, apart } = this
    const [sums] = this.parts
    const length = h.length / n
    const first = this.#empty // nothing to add to, and no page of it touched yet: reading it would cost as much as writing it
    const adds = !first && !apart
    if (!first && apart) this.#products ??= new Float32Array(sums.length)
    const products = this.#products
    const feeds: Record<string, Values> = adds ? this.#parts('', sums) : {}
    for (const { rows, columns } of this.#blocks)
      for (const { from, size } of [rows, columns])
        feeds[nameOf({ from, size })] = values(h.subarray(from * length, (from + size) * length), [size, length])
    const build = () => syrkGraph(this.#blocks, adds)
    await this.run(`${kind} ${n}${adds ? ' added' : ''}`, build, feeds, this.#parts('new ', products ?? sums))
    if (products && apart) {
      const [s, p] = [sums, products].map(all => values(all, [all.length]))
      await apart.run(`${kind} sums`, sumGraph, { s, p }, { y: s })
    }
    this.#empty = false
  }

  /** What `all` holds, by the names of inputs and outputs of the graph. */
  #parts(prefix: string, all: Floats): Record<string, Values> {
    const parts = this.#blocks.map((block, i): [string, Values] => [
      `${prefix}product${i}`,
      values(ofBlock(all, block), [block.rows.size, block.columns.size]),
    ])
    return Object.fromEntries(parts)
  }

  whole(): Floats {
    const { n } = this
    const whole = new Float32Array(n * n)
    for (const block of this.#blocks) {
      const { rows, columns } = block
      const sum = ofBlock(this.parts[0], block)
      for (let i = 0; i < rows.size; i++)
        whole.set(sum.subarray(i * columns.size, (i + 1) * columns.size), (rows.from + i) * n + columns.from)
      if (rows !== columns) transposeInto(whole, columns.from * n + rows.from, n, sum, columns.size)
    }
    return whole
  }

  inner(of: (i: number, from: number, part: Floats) => number): number {
    let total = 0
    for (const block of this.#blocks) {
      const { rows, columns } = block
      const sum = ofBlock(this.parts[0], block)
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

/** `H_i H_jᵀ` for each block; where it `adds`, to what it was. */
function syrkGraph(blocks: readonly Block[], adds: boolean): Graph {
  const g = new Graph('syrk')
  const ranges = new Set<string>()
  const input = (range: Range): string => {
    const name = nameOf(range)
    if (!ranges.has(name)) g.input(name, 'float32', [range.size, 'n'])
    ranges.add(name)
    return name
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
  readonly parts: readonly Floats[] // its rows, from there on
  #empty = true

  /** @param syrk `sum ← β sum + h hᵀ` on and above the diagonal */
  constructor(
    readonly n: number,
    readonly syrk: (h: Floats, sum: Floats, beta: 0 | 1) => Promise<void>,
  ) {
    this.#upper = new Float32Array(n * n)
    this.parts = Array.from({ length: n }, (_, i) => this.#upper.subarray(i * (n + 1), (i + 1) * n))
  }

  async add(h: Floats): Promise<void> {
    await this.syrk(h, this.#upper, this.#empty ? 0 : 1)
    this.#empty = false
  }

  whole(): Floats {
    mirrorUpper(this.#upper, this.n)
    return this.#upper
  }

  inner(of: (i: number, from: number, part: Floats) => number): number {
    let total = 0
    for (let i = 0, at = 0; i < this.n; i++, at += this.n + 1) {
      const [diagonal, right] = [this.#upper.subarray(at, at + 1), this.#upper.subarray(at + 1, (i + 1) * this.n)]
      total += of(i, i, diagonal) + 2 * of(i, i + 1, right)
    }
    return total
  }
}
