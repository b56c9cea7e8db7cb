// Runs half-blocks: takes the stream through one, or computes its hidden activations `H` on the way. `H` is kept
// transposed [width, tokens]: pruning wants columns of it, which lie contiguous then.
import {
  asValues,
  type Engine,
  type Feeds,
  hostOf,
  type Precision,
  type Rows,
  type Tensor,
  type Values,
  values,
} from '../engine/engine.ts'
import type { Linalg } from '../engine/linalg/linalg.ts'
import { matrix } from '../engine/linalg/matrix.ts'
import { addRows, addTimes, drop, rowsAt, scaleColumns } from '../engine/linalg/rows.ts'
import type { Floats } from '../formats/tensors.ts'
import { type AttentionForm, paddedHeadSize, rotaryTables } from '../graphs/attention.ts'
import { fitBlocks, type Special } from '../graphs/causal-attention.ts'
import { gatesGraph } from '../graphs/ffn.ts'
import { type Form, halfBlockGraph, hiddenGraph, residualGraph } from '../graphs/half-block.ts'
import {
  type AttentionHalf,
  type FfnHalf,
  frequenciesOf,
  graphKey,
  type HalfBlock,
  hiddenSize,
  hiddenWidth,
  isBeside,
} from '../model/half-block.ts'
import { type Route, routes } from './routes.ts'
import type { HalfWeights, LinearWeights } from './weights.ts'

/** The columns of `H` that a pruned half-block reads, and its output layer [d, columns] on them. */
export interface PrunedOutput {
  readonly output: LinearWeights
  /** Ascending. */
  readonly columns: Int32Array
}

/** Keys and values [windows, k, positions, e] of one layer, of which `past` positions are filled. */
export interface Cache {
  readonly key: Values<Floats>
  readonly value: Values<Floats>
  readonly keys: Tensor
  past: number
}

/** Feeds of attention for windows that branch: positions of tokens [windows, length], and a term of the scores. */
export interface Branches {
  readonly places: Tensor
  readonly bias: Tensor // [windows, 1, length, length]
}

/** Gets the update of an expert for the rows that go to it [rows, d]. */
export type UpdateObserver = (expert: number, update: Values<Floats>) => Promise<void>

/** Runs half-blocks on one engine, over windows of up to `positions` tokens. */
export class HalfBlockRunner {
  /** The engine of half-blocks and their Gram matrices, in the precision of `products`. */
  readonly graphs: Engine
  /** By frequencies. */
  readonly #rotary = new Map<Float64Array, Feeds>()
  /** Keys of graphs: a decoder's step has little else to do. */
  readonly #keys = new WeakMap<HalfBlock, string>()

  constructor(
    readonly engine: Engine,
    readonly positions: number,
    products?: Precision,
  ) {
    this.graphs = engine.inPrecision(products)
  }

  /** Writes `Hᵀ` [width, tokens] of `windows` windows in `x` [tokens, d] to `h`. */
  async hidden(w: HalfWeights, rows: Rows, windows: number, h: Rows): Promise<void> {
    const { half } = w
    const x = asValues(rows, hiddenSize(half))
    const [tokens] = x.shape
    const form = this.#form(half, tokens / windows, windows)
    const feeds = { ...this.#inputs(w, x), ...this.#positions(half, form, tokens, windows) }
    const outputs = { h: asValues(h, tokens) }
    await this.graphs.run(`${half.kind} ${this.#key(half, form)}`, () => hiddenGraph(half, form), feeds, outputs)
  }

  /**
   * `x ← x + H_M Wᵀ + b` in place, with the columns M of `H` that the pruned output layer reads.
   * @param rows x [tokens, d] @param hidden Hᵀ [width, tokens], used up
   */
  async residual({ half, norms }: HalfWeights, pruned: PrunedOutput, rows: Rows, hidden: Rows): Promise<void> {
    const d = hiddenSize(half)
    const { dialect, linalg } = this.graphs
    if (dialect.residual === 'product' && !half.norms.after && !half.norms.afterSum && !half.updateScale)
      return addProduct(linalg, pruned, await hostOf(rows), await hostOf(hidden), d)
    const { output, columns } = withColumn(pruned, d)
    const x = asValues(rows, d)
    const feeds = {
      ...norms.after,
      ...norms.afterSum,
      ...this.layer('out', output, columns.length),
      x,
      h: asValues(hidden, x.shape[0]),
      kept: values(columns, [columns.length]),
    }
    const bias = output.bias !== undefined
    const key = `residual ${bias ? 'with bias ' : ''}${this.#key(half)}`
    await this.graphs.run(key, () => residualGraph(half, bias), feeds, { y: feeds.x })
  }

  /** The gates [tokens, experts] of a mixture: softmax of what the router gives for `x` [tokens, d]. */
  async gates({ half, norms, experts }: HalfWeights, x: Values<Floats>): Promise<Floats> {
    const mixture = (half as FfnHalf).experts!
    const shape = [x.shape[0], mixture.router.out]
    const gates = values(new Float32Array(shape[0] * shape[1]), shape)
    const feeds = { ...norms.before, ...this.layer('router', experts!.router, hiddenSize(half)), x }
    // In float32 always: a gate that is rounded sends tokens elsewhere.
    await this.engine.run(`gates ${shape[1]} ${this.#key(half)}`, () => gatesGraph(half, mixture), feeds, { gates })
    return gates.data
  }

  /** Which rows of `x` [tokens, d] go to each expert of a mixture. */
  async routes(w: HalfWeights, x: Values<Floats>): Promise<Route[]> {
    return routes(await this.gates(w, x), (w.half as FfnHalf).experts!)
  }

  /** `H̃ᵀ` [width, rows] of an expert on the rows of `x` that go to it: H times their gates. */
  async expertHidden(expert: HalfWeights, { rows, gates }: Route, x: Values<Floats>): Promise<Values<Floats>> {
    const h = this.engine.array([hiddenWidth(expert.half), rows.length])
    const own = await rowsAt(this.engine, x, rows)
    await this.hidden(expert, own, 1, h)
    await scaleColumns(this.engine, h, gates)
    drop(own)
    return h
  }

  /** `H̃_M Wᵀ` [rows, d]: the update of an expert with a pruned output layer. @param h H̃ᵀ, used up */
  async expertOutput(expert: HalfWeights, pruned: PrunedOutput, h: Values<Floats>): Promise<Values<Floats>> {
    const update = this.engine.array([h.shape[1], hiddenSize(expert.half)])
    await this.residual(expert, pruned, update, h)
    return update
  }

  /**
   * Takes rows [tokens, d] of some batches through a mixture, in place, expert by expert: each is read once for all
   * batches.
   * @param seen gets the update of each expert
   */
  async mix(w: HalfWeights, batches: readonly Values<Floats>[], seen?: UpdateObserver, signal?: AbortSignal) {
    const { engine } = this
    const all: { x: Values<Floats>; routes: Route[]; sum: Values<Floats> }[] = []
    for (const x of batches) all.push({ x, routes: await this.routes(w, x), sum: engine.array(x.shape) })
    for (const e of all[0].routes.keys()) {
      const going = all.filter(({ routes }) => routes[e].rows.length > 0)
      signal?.throwIfAborted()
      if (going.length === 0) continue
      const expert = await w.experts!.read(e)
      for (const { x, routes, sum } of going) {
        const h = await this.expertHidden(expert, routes[e], x)
        const update = await this.expertOutput(expert, wholeOutput(expert), h)
        await seen?.(e, update)
        await addRows(engine, sum, routes[e].rows, update)
        drop(h, update)
      }
    }
    for (const { x, sum } of all) {
      await addTimes(engine, x, 1, sum)
      drop(sum)
    }
  }

  /** Takes `x` [tokens, d] of `windows` windows through the half-block, in place. @param read the half-block's input */
  async forward(w: HalfWeights, rows: Rows, windows: number, read = rows, cache?: Cache, branches?: Branches) {
    const { half } = w
    const x = asValues(rows, hiddenSize(half))
    if (w.experts) return this.mix(w, [x])
    const [tokens] = x.shape
    const form = this.#form(half, tokens / windows, windows, cache ? 'cache' : branches && 'branches')
    const feeds: Feeds = {
      ...this.#inputs(w, x),
      ...w.norms.after,
      ...w.norms.afterSum,
      ...(isBeside(half) && { read: asValues(read, hiddenSize(half)) }),
      ...this.layer('out', w.output, hiddenWidth(half)),
      ...this.#positions(half, form, tokens, windows, cache, branches),
    }
    const outputs = { y: x, ...(cache && { newKey: cache.key, newValue: cache.value }) }
    const key = `forward ${half.kind} ${this.#key(half, form)}`
    await this.graphs.run(key, () => halfBlockGraph(half, form), feeds, outputs)
  }

  /** Feeds of the stream, the norms before, and the input layers. */
  #inputs({ half, norms, inputs }: HalfWeights, x: Tensor): Feeds {
    const d = hiddenSize(half)
    const layers = inputs.map((layer, i) => this.layer(`in${i}`, layer, d))
    return Object.assign({ x }, norms.before, norms.query, norms.key, ...layers)
  }

  #key(half: HalfBlock, form?: AttentionForm): string {
    const key = this.#keys.get(half) ?? graphKey(half)
    this.#keys.set(half, key)
    return form ? `${JSON.stringify(form)} ${key}` : key
  }

  /** Feeds of a layer [out, columns], the same each time. */
  layer(name: string, { weight, bias }: LinearWeights, columns: number): Feeds {
    const out = weight.length / columns
    return {
      [`${name}.weight`]: this.graphs.tensor(weight, [out, columns]),
      ...(bias && { [`${name}.bias`]: this.graphs.tensor(bias, [out]) }),
    }
  }

  /** An empty cache. */
  cache(half: AttentionHalf, windows: number): Cache {
    const { array, tensor } = this.graphs
    const width = this.#form(half, 1, windows, 'cache')?.by === 'operator' ? paddedHeadSize(half) : half.headSize
    const [key, value] = [0, 1].map(() => array([windows, half.kvHeads, this.positions, width]))
    const keys = tensor(Int32Array.from(Array(this.positions).keys()), [this.positions])
    return { key, value, keys, past: 0 }
  }

  /** Products where the operator was not found right; blocks for plain windows on the CPU, where they are faster. */
  #form(half: HalfBlock, length: number, windows: number, special?: Special): Form {
    if (half.kind === 'ffn') return undefined
    const { attention } = this.graphs.dialect
    const isTried = attention === 'blocks' || (attention === 'operator' && !special && !half.window && !half.cap)
    if (!isTried) return { by: 'products', length, windows, with: special }
    return special || attention === 'operator' || !fitBlocks(length)
      ? { by: 'operator', with: special }
      : { by: 'blocks', length }
  }

  #positions(half: HalfBlock, form: Form, tokens: number, windows: number, cache?: Cache, branches?: Branches): Feeds {
    if (half.kind === 'ffn' || !form) return {}
    const { key, value, keys, past = 0 }: Partial<Cache> = cache ?? {}
    const length = tokens / windows
    const places = half.rope && branches?.places
    const feeds = { ...this.#tables(half, past + length), key, value, places, bias: branches?.bias }
    if (form.by !== 'operator') return { ...feeds, keys, first: cache && values(Int32Array.of(past), [1]) }
    return {
      ...feeds,
      shape: values(BigInt64Array.of(BigInt(windows), BigInt(length), -1n), [3]),
      past: values(new Int32Array(windows).fill(past + length - 1), [windows]),
      total: values(Int32Array.of(past + length), []),
    }
  }

  #tables(half: AttentionHalf, length: number): Feeds {
    if (!half.rope) return {}
    const frequencies = frequenciesOf(half.rope, length)
    let feeds = this.#rotary.get(frequencies)
    if (!feeds) {
      const { cos, sin } = rotaryTables(half, frequencies, this.positions)
      const shape = [this.positions, paddedHeadSize(half) / 2]
      feeds = { cos: this.graphs.tensor(cos, shape), sin: this.graphs.tensor(sin, shape) }
      this.#rotary.set(frequencies, feeds)
    }
    return feeds
  }
}

/** With zeros on the first column where no column is left: no engine takes a matrix without columns. */
export const withColumn = (pruned: PrunedOutput, d: number): PrunedOutput =>
  pruned.columns.length > 0
    ? pruned
    : { output: { ...pruned.output, weight: new Float32Array(d) }, columns: Int32Array.of(0) }

/** The output layer with nothing removed. */
export const wholeOutput = ({ half, output }: HalfWeights): PrunedOutput => ({
  output,
  columns: Int32Array.from({ length: hiddenWidth(half) }, (_, column) => column),
})

/** `x ← x + H_M Wᵀ + b` by a product that adds in place. The rows M of `h` move to its beginning. */
async function addProduct(linalg: Linalg, { output, columns }: PrunedOutput, x: Floats, h: Floats, d: number) {
  const tokens = x.length / d
  const { weight, bias } = output
  for (const [i, row] of columns.entries()) if (i !== row) h.copyWithin(i * tokens, row * tokens, (row + 1) * tokens)
  if (bias) for (let t = 0, at = 0; t < tokens; t++) for (let o = 0; o < d; o++, at++) x[at] += bias[o]
  if (columns.length === 0) return
  const kept = matrix(columns.length, tokens, h)
  const options = { transA: true, transB: true, accumulate: true, kind: 'residual' }
  await linalg.gemm(kept, matrix(d, columns.length, weight), matrix(tokens, d, x), options)
}
