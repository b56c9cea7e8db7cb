// Statistics of hidden activations: `G = HᵀH` and `μ`, accumulated batch by batch on the engine in float32. Make, accumulate, finish.
// G is symmetric: it is halved again and again, the square above the diagonal is computed, and the two triangles are halved in turn.
// With s halvings that is (1 + 2⁻ˢ) / 2 of the work, in products as large as can be. `Hᵀ` comes as [width, tokens], so that the
// columns of a product are a view. Where the engine has a BLAS, its symmetric product (syrk) computes what is on and above the diagonal.
import { type Engine, type Values, values } from '../engine/engine.ts'
import { Graph } from '../formats/onnx.ts'
import { mirrorUpper, transposeInto } from '../linalg/scatter.ts'
import type { Gap } from './gap.ts'

type Floats = Float32Array<ArrayBuffer>

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

/** The product of two ranges of columns, as it adds up. */
interface Block {
  readonly rows: Columns
  readonly columns: Columns
  readonly sum: Values<Floats> // [rows.size, columns.size]
  /** Room for the product by itself, in bf16. */
  readonly product?: Values<Floats>
}

export class GramAccumulator {
  readonly #blocks: readonly Block[]
  readonly #upper?: Floats // [width, width], in place of the blocks
  readonly #sum: Values<Floats>
  #tokens = 0

  constructor(
    readonly engine: Engine,
    readonly width: number,
    /** The kind of graph that the engine's seconds count it under. */
    readonly kind: 'gram' | 'energy' = 'gram',
  ) {
    if (engine.blas) this.#upper = new Float32Array(width * width)
    const smallest = Math.max(TRIANGLE[engine.precision], width * TRIANGLE_SHARE)
    const blocks = engine.blas ? [] : halve({ from: 0, size: width }, smallest)
    this.#blocks = engine.precision === 'bf16' ? blocks.map(b => ({ ...b, product: room(b.rows, b.columns) })) : blocks
    this.#sum = values(new Float32Array(width), [width])
  }

  /** @param h `Hᵀ` [width, tokens] */
  async accumulate(h: Floats, tokens: number): Promise<void> {
    const feeds: Record<string, Values> = { h: values(h, [this.width, tokens]), sum: this.#sum }
    const outputs: Record<string, Values> = { newSum: this.#sum }
    for (const [i, { rows, columns, sum, product }] of this.#blocks.entries()) {
      for (const { from, size } of [rows, columns])
        feeds[rangeName({ from, size })] = values(h.subarray(from * tokens, (from + size) * tokens), [size, tokens])
      outputs[`new${i}`] = feeds[`gram${i}`] = sum
      if (product) outputs[`product${i}`] = product
    }
    const { engine, kind, width } = this
    const upper = this.#upper
    await engine.run(`${kind} ${width}`, () => gramGraph(width, this.#blocks), feeds, outputs)
    if (upper) await engine.timed(kind, () => engine.blas!.syrk(h, upper, width))
    this.#tokens += tokens
  }

  finish(): Statistics {
    const { width } = this
    const gram = this.#upper ?? new Float32Array(width * width)
    if (this.#upper) mirrorUpper(gram, width)
    for (const { rows, columns, sum } of this.#blocks) {
      for (let i = 0; i < rows.size; i++)
        gram.set(sum.data.subarray(i * columns.size, (i + 1) * columns.size), (rows.from + i) * width + columns.from)
      if (rows !== columns) transposeInto(gram, columns.from * width + rows.from, width, sum.data, columns.size)
    }
    const mean = new Float64Array(this.#sum.data).map(s => s / this.#tokens)
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
    for (const { rows, columns, sum } of this.#blocks)
      for (let r = 0; r < rows.size; r++) {
        const part = sum.data.subarray(r * columns.size, (r + 1) * columns.size)
        total += (rows === columns ? 1 : 2) * of(rows.from + r, columns.from, part)
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
  await products.accumulate(w, w.length / at.length)
  return products.inner((i, from, line) => {
    const row = at[i] * width
    let sum = 0
    for (let j = 0; j < line.length; j++) sum += gram[row + at[from + j]] * line[j]
    return sum
  })
}

/** The blocks of a square on the diagonal. */
function halve(square: Columns, smallest: number): Block[] {
  const { from, size } = square
  if (size <= smallest) return [block(square, square)]
  const half = Math.floor(size / 2)
  const upper = { from, size: half }
  const lower = { from: from + half, size: size - half }
  return [block(upper, lower), ...halve(upper, smallest), ...halve(lower, smallest)]
}

const block = (rows: Columns, columns: Columns): Block => ({ rows, columns, sum: room(rows, columns) })

const room = (rows: Columns, columns: Columns): Values<Floats> =>
  values(new Float32Array(rows.size * columns.size), [rows.size, columns.size])

const rangeName = ({ from, size }: Columns): string => `h${from}_${size}`

/** `G_ij ← G_ij + H_iᵀ H_j` for each block, `s ← s + Σ H`, in place. */
function gramGraph(width: number, blocks: readonly Block[]): Graph {
  const g = new Graph('gram')
  const h = g.input('h', 'float32', [width, 'n'])
  const ranges = new Set<string>()
  const input = (range: Columns): string => {
    const name = rangeName(range)
    if (!ranges.has(name)) g.input(name, 'float32', [range.size, 'n'])
    ranges.add(name)
    return name
  }
  for (const [i, { rows, columns, product }] of blocks.entries()) {
    const shape = [rows.size, columns.size]
    const sum = g.input(`gram${i}`, 'float32', shape)
    const operands = [input(rows), input(columns)]
    if (product) {
      // OpenVINO rounds a product that it adds to, but for one that is a result by itself.
      g.output(`product${i}`, g.op('Gemm', operands, { transB: 1 }), 'float32', shape)
      g.output(`new${i}`, g.op('Add', [`product${i}`, sum]), 'float32', shape)
    } else g.output(`new${i}`, g.op('Gemm', [...operands, sum], { transB: 1 }), 'float32', shape)
  }
  const sums = g.op('ReduceSum', [h, g.constant('int64', [1])], { keepdims: 0 })
  g.output('newSum', g.op('Add', [g.input('sum', 'float32', [width]), sums]), 'float32', [width])
  return g
}
