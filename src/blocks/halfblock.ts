// Runs half-blocks: reads the weights of one, computes its hidden activations `H`, and adds `H Wᵀ` to the stream.
import { type Engine, type Feeds, values } from '../engine/engine.ts'
import { type Architecture, graphKey, type HalfBlock, type Linear } from '../model/architecture.ts'
import { type Model, readWeights } from '../model/model.ts'
import { attentionGraph, paddedHeadSize, rotaryTables } from './attention.ts'
import { withAllValues } from './compact-values.ts'
import { ffnGraph } from './ffn.ts'
import { residualGraph } from './residual.ts'

type Floats = Float32Array<ArrayBuffer>

/** A linear layer's values: `weight` [out, in] row-major, `bias` [out]. */
export interface LinearWeights {
  readonly weight: Floats
  readonly bias?: Floats
}

/** The weights of one half-block. Widths are those of the arrays, which pruning may have narrowed. */
export interface HalfWeights {
  readonly half: HalfBlock
  readonly norm: Feeds
  readonly inputs: readonly LinearWeights[]
  readonly output: LinearWeights
}

export async function readHalf(model: Model, half: HalfBlock): Promise<HalfWeights> {
  const linear = async (l: Linear): Promise<LinearWeights> => ({
    weight: await readWeights(model, `${l.name}.weight`),
    bias: l.bias ? await readWeights(model, `${l.name}.bias`) : undefined,
  })
  const inputs: LinearWeights[] = []
  for (const l of half.inputs) inputs.push(await linear(l))
  const weights = { half, norm: await readNorm(model, half.norm), inputs, output: await linear(half.output) }
  return half.kind === 'attention' ? withAllValues(model.architecture, weights) : weights
}

/** Feeds of `norm` in a graph; ones and zeros where the model's norms have no weights. */
export async function readNorm(model: Model, name: string): Promise<Feeds> {
  const { hiddenSize: d, norm } = model.architecture
  const weight = norm.affine ? await readWeights(model, `${name}.weight`) : new Float32Array(d).fill(1)
  if (norm.type === 'rms') return { 'norm.weight': values(weight, [d]) }
  const bias = norm.affine ? await readWeights(model, `${name}.bias`) : new Float32Array(d)
  return { 'norm.weight': values(weight, [d]), 'norm.bias': values(bias, [d]) }
}

/** Keys and values [windows, k, positions, e] of one layer, filled in place. `past` positions are filled already. */
export interface Cache {
  readonly key: Floats
  readonly value: Floats
  readonly positions: number
  past: number
}

/** Runs the half-blocks of one architecture on one engine over windows of up to `positions` tokens. */
export class HalfBlockRunner {
  readonly #rotary: Feeds
  readonly #graphs: string
  constructor(
    readonly engine: Engine,
    readonly architecture: Architecture,
    positions: number,
  ) {
    this.#graphs = graphKey(architecture)
    const tables = rotaryTables(architecture, positions)
    const shape = [positions, paddedHeadSize(architecture) / 2]
    this.#rotary = tables ? { cos: values(tables.cos, shape), sin: values(tables.sin, shape) } : {}
  }

  /** Width of `H`: the input columns of the half-block's output layer. */
  hiddenWidth(w: HalfWeights): number {
    return w.output.weight.length / this.architecture.hiddenSize
  }

  /** Writes `H` [tokens, width] of `windows` windows in `x` [tokens, d] to `h`. */
  async hidden(w: HalfWeights, x: Floats, windows: number, h: Floats, cache?: Cache): Promise<void> {
    const a = this.architecture
    const tokens = x.length / a.hiddenSize
    const feeds: Record<string, Feeds[string]> = { ...(a.postNorm ? {} : w.norm), x: values(x, [tokens, a.hiddenSize]) }
    const names = w.half.kind === 'attention' ? ['q', 'k', 'v'] : w.inputs.map((_, i) => `in${i}`)
    w.inputs.forEach(({ weight, bias }, i) => {
      const out = weight.length / a.hiddenSize
      feeds[`${names[i]}.weight`] = values(weight, [out, a.hiddenSize])
      feeds[`${names[i]}.bias`] = bias && values(bias, [out])
    })
    const outputs: Record<string, NonNullable<Feeds[string]>> = { h: values(h, [tokens, h.length / tokens]) }
    if (w.half.kind === 'ffn') return this.engine.run(`ffn ${this.#graphs}`, () => ffnGraph(a), feeds, outputs)
    const length = tokens / windows
    const past = cache?.past ?? 0
    feeds.shape = values(BigInt64Array.of(BigInt(windows), BigInt(length), -1n), [3])
    feeds.past = values(new Int32Array(windows).fill(past + length - 1), [windows])
    feeds.total = values(Int32Array.of(past + length), [])
    if (cache) {
      const shape = [windows, a.kvHeads, cache.positions, paddedHeadSize(a)]
      outputs.newKey = feeds.key = values(cache.key, shape)
      outputs.newValue = feeds.value = values(cache.value, shape)
    }
    const key = `attention ${cache ? 'with cache ' : ''}${this.#graphs}`
    await this.engine.run(key, () => attentionGraph(a, cache !== undefined), { ...feeds, ...this.#rotary }, outputs)
  }

  /** Takes `x` [tokens, d] of `windows` windows through the half-block in place; `h` [tokens, width] is room for `H`. */
  async through(w: HalfWeights, x: Floats, windows: number, h: Floats): Promise<void> {
    await this.hidden(w, x, windows, h)
    await this.residual(w, x, h)
  }

  /** `x ← x + H Wᵀ + b` in place, with `H` [tokens, width] and the half-block's output layer. */
  async residual(w: HalfWeights, x: Floats, h: Floats): Promise<void> {
    const a = this.architecture
    const { weight, bias } = w.output
    const width = this.hiddenWidth(w)
    const stream = values(x, [x.length / a.hiddenSize, a.hiddenSize])
    const feeds: Feeds = {
      ...(a.postNorm ? w.norm : {}),
      x: stream,
      h: values(h, [h.length / width, width]),
      'out.weight': values(weight, [a.hiddenSize, width]),
      'out.bias': bias && values(bias, [a.hiddenSize]),
    }
    await this.engine.run(
      `residual ${bias ? 'with bias ' : ''}${this.#graphs}`,
      () => residualGraph(a, bias !== undefined),
      feeds,
      {
        y: stream,
      },
    )
  }
}
