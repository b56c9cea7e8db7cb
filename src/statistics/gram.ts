// Statistics of hidden activations: `G = HᵀH` and `μ`, added up batch by batch on the engine in float32.
// G is symmetric: it is halved again and again, the square above the diagonal is computed, and the two triangles are halved in turn.
// With s halvings that is (1 + 2⁻ˢ) / 2 of the work, in products as large as can be. `Hᵀ` comes as [width, tokens], so that the
// columns of a product are a view. Where the engine has a BLAS, its symmetric product (syrk) computes what is on and above the diagonal.
// In bf16 OpenVINO makes products that ONNX Runtime adds up: it rounds those that it adds to.

import { type Engine, type Values, values } from '../engine/engine.ts'
import { Graph } from '../formats/onnx.ts'
import type { Floats } from '../formats/tensors.ts'
import type { Accumulator, Observed } from '../forward/stream.ts'
import { mirrorUpper, transposeInto } from '../linalg/scatter.ts'
import { addTo } from './sums.ts'

/** Statistics of αD, the dense target (gap.ts). */
export interface Gap {
  /** `Hᵀ(αD)` */
  readonly cross: Floats // [width, d]
  readonly mean: Float64Array<ArrayBuffer> // [d]
  /** `‖αD‖²` */
  readonly energy: number
}

/** What score and restoration need to know of `H` [tokens, width]. */
export interface Statistics {
  readonly width: number
  readonly tokens: number
  readonly gram: Floats // [width, width]
  readonly mean: Float64Array<ArrayBuffer> // [width]
  /** With a dense target: what the output is to have beyond `H Wᵀ`. */
  readonly gap?: Gap
}

/** Triangles are halved down to this: smaller products are slower than the work that they save. */
const TRIANGLE = { float32: 192, bf16: 384 }
/** In wide layers a triangle may be this part of the width: 1 / 32 leaves 1.6 % more than half of the work. */
const TRIANGLE_SHARE = 1 / 32

/** Columns `from` to `from + size` of `H`. */
interface Columns {
  readonly from: number
  readonly size: number
}

/** The product of two ranges of columns [rows.size, columns.size]. */
interface Block {
  readonly rows: Columns
  readonly columns: Columns
  /** Its first element in the array of all blocks, which `Σ H` [width] ends. */
  readonly first: number
}

export class GramAccumulator implements Accumulator {
  readonly #blocks: readonly Block[]
  readonly #upper?: Floats // [width, width], in place of the blocks
  readonly #sums: Floats
  #products?: Floats // of one batch after the first, where they are not added to the sums in one graph
  #tokens = 0

  constructor(
    readonly engine: Engine,
    readonly width: number,
    /** The kind of graph that the engine's seconds count it under. */
    readonly kind: 'gram' | 'energy' = 'gram',
    /** Makes the products. */
    readonly graphs = engine,
  ) {
    if (graphs.blas) this.#upper = new Float32Array(width * width)
    const smallest = Math.max(TRIANGLE[graphs.precision], width * TRIANGLE_SHARE)
    let size = 0
    this.#blocks = (graphs.blas ? [] : halve({ from: 0, size: width }, smallest)).map(([rows, columns]) => {
      const first = size
      size += rows.size * columns.size
      return { rows, columns, first }
    })
    this.#sums = new Float32Array(size + width)
  }

  async add({ h, tokens }: Pick<Observed, 'h' | 'tokens'>): Promise<void> {
    const { engine, graphs, kind, width } = this
    const sums = this.#sums
    const first = this.#tokens === 0 // nothing to add to, and no page of it touched yet: reading it would cost as much as writing it
    const adds = !first && graphs.precision === 'float32'
    if (!first && !adds) this.#products ??= new Float32Array(sums.length)
    const products = this.#products
    const feeds: Record<string, Values> = { h: values(h, [width, tokens]), ...(adds ? this.#parts('', sums) : {}) }
    for (const { rows, columns } of this.#blocks)
      for (const { from, size } of [rows, columns])
        feeds[rangeName({ from, size })] = values(h.subarray(from * tokens, (from + size) * tokens), [size, tokens])
    const build = () => gramGraph(width, this.#blocks, adds)
    await graphs.run(`${kind} ${width}${adds ? ' added' : ''}`, build, feeds, this.#parts('new ', products ?? sums))
    if (products) {
      const [s, p] = [sums, products].map(all => values(all, [all.length]))
      await engine.run(`${kind} sums`, sumGraph, { s, p }, { y: s })
    }
    const upper = this.#upper
    if (upper) await graphs.timed(kind, () => graphs.blas!.syrk(h, upper, width, first ? 0 : 1))
    this.#tokens += tokens
  }

  /** Adds what another one of the same width, on the same engine, has seen. */
  merge(other: GramAccumulator): void {
    addTo(this.#sums, other.#sums)
    if (this.#upper) addTo(this.#upper, other.#upper!)
    this.#tokens += other.#tokens
  }

  /** What `all` holds, by the names of inputs and outputs of the graph. */
  #parts(prefix: string, all: Floats): Record<string, Values> {
    const parts: Record<string, Values> = { [`${prefix}sum`]: values(all.subarray(-this.width), [this.width]) }
    for (const [i, block] of this.#blocks.entries())
      parts[`${prefix}gram${i}`] = values(ofBlock(all, block), [block.rows.size, block.columns.size])
    return parts
  }

  finish(): Statistics {
    const { width } = this
    const gram = this.#upper ?? new Float32Array(width * width)
    if (this.#upper) mirrorUpper(gram, width)
    for (const block of this.#blocks) {
      const { rows, columns } = block
      const sum = ofBlock(this.#sums, block)
      for (let i = 0; i < rows.size; i++)
        gram.set(sum.subarray(i * columns.size, (i + 1) * columns.size), (rows.from + i) * width + columns.from)
      if (rows !== columns) transposeInto(gram, columns.from * width + rows.from, width, sum, columns.size)
    }
    const mean = new Float64Array(this.#sums.subarray(-width)).map(s => s / this.#tokens)
    return { width, tokens: this.#tokens, gram, mean }
  }

  /** Sum over all of G of what `of` gives for a part of row `i` that begins at column `from`. `of` is symmetric in rows and columns. */
  inner(of: (i: number, from: number, part: Floats) => number): number {
    let total = 0
    const upper = this.#upper
    if (upper)
      for (let i = 0, at = 0; i < this.width; i++, at += this.width + 1) {
        const [diagonal, right] = [upper.subarray(at, at + 1), upper.subarray(at + 1, (i + 1) * this.width)]
        total += of(i, i, diagonal) + 2 * of(i, i + 1, right)
      }
    for (const block of this.#blocks) {
      const { rows, columns } = block
      const sum = ofBlock(this.#sums, block)
      for (let r = 0; r < rows.size; r++) {
        const part = sum.subarray(r * columns.size, (r + 1) * columns.size)
        total += (rows === columns ? 1 : 2) * of(rows.from + r, columns.from, part)
      }
    }
    return total
  }
}

/**
 * `⟨W G, W⟩` over the columns `at`: the energy of the output that they give. It is `⟨G, WᵀW⟩`, of which half is enough.
 * @param w `Wᵀ` of these columns [at.length, out]
 */
export async function outputEnergy(
  engine: Engine,
  { gram, width }: Statistics,
  at: Int32Array,
  w: Floats,
): Promise<number> {
  if (at.length === 0) return 0
  const products = new GramAccumulator(engine, at.length, 'energy')
  await products.add({ h: w, tokens: w.length / at.length })
  return products.inner((i, from, line) => {
    const row = at[i] * width
    let sum = 0
    for (let j = 0; j < line.length; j++) sum += gram[row + at[from + j]] * line[j]
    return sum
  })
}

/** Rows and columns of the blocks of a square on the diagonal. */
function halve(square: Columns, smallest: number): [rows: Columns, columns: Columns][] {
  const { from, size } = square
  if (size <= smallest) return [[square, square]]
  const half = Math.floor(size / 2)
  const upper = { from, size: half }
  const lower = { from: from + half, size: size - half }
  return [[upper, lower], ...halve(upper, smallest), ...halve(lower, smallest)]
}

const ofBlock = (all: Floats, { rows, columns, first }: Block): Floats =>
  all.subarray(first, first + rows.size * columns.size)

const rangeName = ({ from, size }: Columns): string => `h${from}_${size}`

/** `G_ij = H_iᵀ H_j` for each block, and `s = Σ H`; where it `adds`, to what they were. */
function gramGraph(width: number, blocks: readonly Block[], adds: boolean): Graph {
  const g = new Graph('gram')
  const ranges = new Set<string>()
  const input = (range: Columns): string => {
    const name = rangeName(range)
    if (!ranges.has(name)) g.input(name, 'float32', [range.size, 'n'])
    ranges.add(name)
    return name
  }
  for (const [i, { rows, columns }] of blocks.entries()) {
    const shape = [rows.size, columns.size]
    const operands = [input(rows), input(columns), ...(adds ? [g.input(`gram${i}`, 'float32', shape)] : [])]
    g.output(`new gram${i}`, g.op('Gemm', operands, { transB: 1 }), 'float32', shape)
  }
  const h = g.input('h', 'float32', [width, 'n'])
  const sum = g.op('ReduceSum', [h, g.constant('int64', [1])], { keepdims: 0 })
  const sums = adds ? g.op('Add', [g.input('sum', 'float32', [width]), sum]) : sum
  g.output('new sum', sums, 'float32', [width])
  return g
}

function sumGraph(): Graph {
  const g = new Graph('sums')
  g.output('y', g.op('Add', [g.input('s', 'float32', ['n']), g.input('p', 'float32', ['n'])]), 'float32', ['n'])
  return g
}
