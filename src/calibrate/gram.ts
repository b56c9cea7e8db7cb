// Statistics of hidden activations: `G = HᵀH` and `μ`, accumulated batch by batch on the engine in float32. Make, accumulate, finish.
// G is symmetric: H is split into blocks of columns, and only the products on and above the diagonal of blocks are computed.
import { type Engine, type Feeds, type Values, values } from '../engine/engine.ts'
import { Graph } from '../formats/onnx.ts'
import type { Gap } from './gap.ts'

/** What score and restoration need to know of `H` [tokens, width]. */
export interface Statistics {
  readonly width: number
  readonly tokens: number
  readonly gram: Float32Array<ArrayBuffer> // [width, width]
  readonly mean: Float64Array<ArrayBuffer> // [width]
  /** With a dense target: what the output is to have beyond `H Wᵀ`. */
  readonly gap?: Gap
}

/** Columns of a block, and blocks at most: with b blocks (b + 1) / 2b of the work is left, but products of small blocks are slower. */
const BLOCK_COLUMNS = 256
const MAX_BLOCKS = 8

interface Block {
  readonly i: number
  readonly j: number
  readonly values: Values<Float32Array<ArrayBuffer>> // [size i, size j]
}

export class GramAccumulator {
  readonly #sizes: readonly number[]
  readonly #blocks: readonly Block[]
  readonly #sum: Values<Float32Array<ArrayBuffer>>
  #tokens = 0

  constructor(
    readonly engine: Engine,
    readonly width: number,
  ) {
    this.#sizes = blockSizes(width)
    this.#sum = values(new Float32Array(width), [width])
    this.#blocks = this.#sizes.flatMap((rows, i) =>
      this.#sizes.slice(i).map((columns, k) => ({
        i,
        j: i + k,
        values: values(new Float32Array(rows * columns), [rows, columns]),
      })),
    )
  }

  async accumulate(h: Float32Array<ArrayBuffer>): Promise<void> {
    const tokens = h.length / this.width
    const feeds: Record<string, Feeds[string]> = { h: values(h, [tokens, this.width]), sum: this.#sum }
    const outputs: Record<string, Values> = { newSum: this.#sum }
    for (const { i, j, values } of this.#blocks) outputs[`new${i}_${j}`] = feeds[`gram${i}_${j}`] = values
    await this.engine.run(`gram ${this.width}`, () => gramGraph(this.#sizes), feeds, outputs)
    this.#tokens += tokens
  }

  finish(): Statistics {
    const { width } = this
    const gram = new Float32Array(width * width)
    const starts = this.#sizes.map((_, i) => this.#sizes.slice(0, i).reduce((sum, size) => sum + size, 0))
    for (const { i, j, values } of this.#blocks) {
      const [rows, columns] = values.shape
      for (let r = 0; r < rows; r++) {
        const row = starts[i] + r
        gram.set(values.data.subarray(r * columns, (r + 1) * columns), row * width + starts[j])
        if (i !== j)
          for (let c = 0; c < columns; c++) gram[(starts[j] + c) * width + row] = values.data[r * columns + c]
      }
    }
    const mean = new Float64Array(this.#sum.data).map(s => s / this.#tokens)
    return { width, tokens: this.#tokens, gram, mean }
  }
}

function blockSizes(width: number): number[] {
  const blocks = Math.min(MAX_BLOCKS, Math.ceil(width / BLOCK_COLUMNS))
  const edge = (i: number) => Math.floor((i * width) / blocks)
  return Array.from({ length: blocks }, (_, i) => edge(i + 1) - edge(i))
}

/** `G_ij ← G_ij + H_iᵀH_j` for i ≤ j, `s ← s + Σ H`, in place. */
function gramGraph(sizes: readonly number[]): Graph {
  const g = new Graph('gram')
  const width = sizes.reduce((sum, size) => sum + size, 0)
  const h = g.input('h', 'float32', ['n', width])
  const parts = sizes.length === 1 ? [h] : g.ops('Split', [h, g.constant('int64', sizes)], sizes.length, { axis: 1 })
  for (let i = 0; i < sizes.length; i++)
    for (let j = i; j < sizes.length; j++) {
      const shape = [sizes[i], sizes[j]]
      const block = g.input(`gram${i}_${j}`, 'float32', shape)
      g.output(`new${i}_${j}`, g.op('Gemm', [parts[i], parts[j], block], { transA: 1 }), 'float32', shape)
    }
  const column = g.op('ReduceSum', [h, g.constant('int64', [0])], { keepdims: 0 })
  g.output('newSum', g.op('Add', [g.input('sum', 'float32', [width]), column]), 'float32', [width])
  return g
}
