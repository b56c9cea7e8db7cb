// Runs half-blocks: takes the stream through one, or computes its hidden activations `H` on the way. `H` is
// kept transposed, [width, tokens]: what pruning wants of it are its columns, which lie contiguous then.

import { type Engine, type Precision, type Values, values } from '../engine/engine.ts'
import type { Linalg } from '../engine/linalg.ts'
import type { Floats } from '../formats/tensors.ts'
import { matrix } from '../linalg/matrix.ts'
import { type Architecture, graphKey } from '../model/architecture.ts'
import { type AttentionKind, attentionGraph, attentionHiddenGraph, paddedHeadSize, rotaryTables } from './attention.ts'
import { fitBlocks, type WholeWindows } from './causal-attention.ts'
import { ffnGraph, ffnHiddenGraph } from './ffn.ts'
import { residualGraph } from './residual.ts'
import type { HalfWeights, LinearWeights } from './weights.ts'

/** What of `H` a pruned half-block reads, and its output layer [d, columns] on that. */
export interface PrunedOutput {
  readonly output: LinearWeights
  /** Ascending columns of `H`. */
  readonly columns: Int32Array
}

/** Keys and values [windows, k, positions, e] of one layer, filled in place. `past` positions are filled already. */
export interface Cache {
  readonly key: Floats
  readonly value: Floats
  readonly positions: number
  past: number
}

/** Feeds of attention for windows that branch: the position of each token [windows, length], and what is added to its scores. */
export interface Branches {
  readonly places: Values<BigInt64Array>
  readonly bias: Values<Float32Array> // [windows, 1, length, length]
}

/** Runs the half-blocks of one architecture on one engine over windows of up to `positions` tokens. */
export class HalfBlockRunner {
  readonly #rotary: Readonly<Record<string, Values>>
  /** The engine of all that goes through the layers, and of its Gram matrices. */
  readonly graphs: Engine
  readonly #key: string
  constructor(
    readonly engine: Engine,
    readonly architecture: Architecture,
    positions: number,
    products?: Precision,
  ) {
    this.graphs = engine.inPrecision(products)
    this.#key = graphKey(architecture)
    const tables = rotaryTables(architecture, positions)
    const shape = [positions, paddedHeadSize(architecture) / 2]
    this.#rotary = tables ? { cos: values(tables.cos, shape), sin: values(tables.sin, shape) } : {}
  }

  /** Width of `H`: the input columns of the half-block's output layer. */
  hiddenWidth(w: HalfWeights): number {
    return w.output.weight.length / this.architecture.hiddenSize
  }

  /** Writes `Hᵀ` [width, tokens] of `windows` windows in `x` [tokens, d] to `h`. */
  async hidden(w: HalfWeights, x: Floats, windows: number, h: Floats): Promise<void> {
    const a = this.architecture
    const inputs = this.#inputs(w, x)
    const outputs = { h: values(h, [this.hiddenWidth(w), this.#tokens(x)]) }
    if (w.half.kind === 'ffn') return this.graphs.run(`ffn ${this.#key}`, () => ffnHiddenGraph(a), inputs, outputs)
    const kind = this.#whole(x, windows)
    const feeds = { ...inputs, ...this.#positions(kind, x, windows) }
    const key = `attention ${nameOf(kind)} ${this.#key}`
    await this.graphs.run(key, () => attentionHiddenGraph(a, kind), feeds, outputs)
  }

  /** `x ← x + H_M Wᵀ + b` in place, with the columns M of `H` that the pruned output layer reads. @param h Hᵀ [width, tokens], used up */
  async residual(w: HalfWeights, pruned: PrunedOutput, x: Floats, h: Floats): Promise<void> {
    const a = this.architecture
    if (this.graphs.dialect.residual === 'product' && !a.postNorm)
      return addProduct(this.graphs.linalg, pruned, x, h, a.hiddenSize)
    // No column left: zeros on the first one, as a matrix without columns is nothing that an engine takes.
    const { output, columns } =
      pruned.columns.length > 0
        ? pruned
        : { output: { ...pruned.output, weight: new Float32Array(a.hiddenSize) }, columns: Int32Array.of(0) }
    const tokens = this.#tokens(x)
    const feeds = {
      ...(a.postNorm ? w.norm : {}),
      ...this.#output(output),
      x: values(x, [tokens, a.hiddenSize]),
      h: values(h, [h.length / tokens, tokens]),
      kept: values(columns, [columns.length]),
    }
    const bias = output.bias !== undefined
    const key = `residual ${bias ? 'with bias ' : ''}${this.#key}`
    await this.graphs.run(key, () => residualGraph(a, bias), feeds, { y: feeds.x })
  }

  /** Takes `x` [tokens, d] of `windows` windows through the half-block, in place. */
  async forward(w: HalfWeights, x: Floats, windows: number, cache?: Cache, branches?: Branches): Promise<void> {
    const a = this.architecture
    const inputs = { ...w.norm, ...this.#inputs(w, x), ...this.#output(w.output) }
    if (w.half.kind === 'ffn')
      return this.graphs.run(`forward ffn ${this.#key}`, () => ffnGraph(a), inputs, { y: inputs.x })
    const kind = cache ? 'with cache' : branches ? 'with branches' : this.#whole(x, windows)
    const feeds: Record<string, Values> = { ...inputs, ...this.#positions(kind, x, windows, cache?.past) }
    const outputs: Record<string, Values> = { y: inputs.x }
    if (cache) {
      const shape = [windows, a.kvHeads, cache.positions, paddedHeadSize(a)]
      outputs.newKey = feeds.key = values(cache.key, shape)
      outputs.newValue = feeds.value = values(cache.value, shape)
    }
    if (branches) {
      feeds.bias = branches.bias
      if (a.rope) feeds.places = branches.places
    }
    const key = `forward attention ${nameOf(kind)} ${this.#key}`
    await this.graphs.run(key, () => attentionGraph(a, kind), feeds, outputs)
  }

  #tokens(x: Floats): number {
    return x.length / this.architecture.hiddenSize
  }

  /** The stream, the norm before the input layers, and those. */
  #inputs(w: HalfWeights, x: Floats): Record<string, Values> & { x: Values } {
    const { hiddenSize, postNorm } = this.architecture
    const names = w.half.kind === 'attention' ? ['q', 'k', 'v'] : w.inputs.map((_, i) => `in${i}`)
    const layers = w.inputs.map((layer, i) => this.#linear(names[i], layer, hiddenSize))
    return Object.assign({ x: values(x, [this.#tokens(x), hiddenSize]) }, postNorm ? {} : w.norm, ...layers)
  }

  #output(output: LinearWeights): Record<string, Values> {
    return this.#linear('out', output, output.weight.length / this.architecture.hiddenSize)
  }

  #linear(name: string, { weight, bias }: LinearWeights, input: number): Record<string, Values> {
    const out = weight.length / input
    const ofBias: Record<string, Values> = bias ? { [`${name}.bias`]: values(bias, [out]) } : {}
    return { [`${name}.weight`]: values(weight, [out, input]), ...ofBias }
  }

  /** Windows without cache and branches: in blocks where that is faster. */
  #whole(x: Floats, windows: number): 'plain' | WholeWindows {
    const length = this.#tokens(x) / windows
    const { attention } = this.graphs.dialect
    if (attention === 'products') return { length, windows }
    return attention === 'blocks' && fitBlocks(length) ? { length } : 'plain'
  }

  #positions(kind: AttentionKind, x: Floats, windows: number, past = 0): Readonly<Record<string, Values>> {
    if (typeof kind === 'object') return this.#rotary
    const length = this.#tokens(x) / windows
    return {
      ...this.#rotary,
      shape: values(BigInt64Array.of(BigInt(windows), BigInt(length), -1n), [3]),
      past: values(new Int32Array(windows).fill(past + length - 1), [windows]),
      total: values(Int32Array.of(past + length), []),
    }
  }
}

/** Of a graph's key. */
const nameOf = (kind: AttentionKind): string => (typeof kind === 'string' ? kind : JSON.stringify(kind))

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
