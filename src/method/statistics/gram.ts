// Statistics of hidden activations: `G = HᵀH` and `μ`, added up batch by batch on the engine in float32. `Hᵀ` comes as [width, tokens], so that
// the columns of a product are a view.

import { asValues, type Engine, type Tensor, values } from '../../engine/engine.ts'
import type { SymmetricSum } from '../../engine/linalg/linalg.ts'
import { addTo } from '../../engine/linalg/sums.ts'
import { Graph } from '../../formats/onnx.ts'
import type { Floats } from '../../formats/tensors.ts'
import type { Accumulator, Observed } from '../../forward/observation.ts'
import { ALONE } from '../../ranks/group.ts'

/** Statistics of αD, the dense target (gap.ts). */
export interface Gap {
  /** `Hᵀ(αD)` */
  readonly cross: Floats // [width, d]
  readonly mean: Float64Array<ArrayBuffer> // [d]
  /** `‖αD‖²` */
  readonly energy: number
}

/** What score and restoration need to know of `H` [tokens, width]. Where a norm follows it is r H; then N is Σ r², and μ that of H by r². */
export interface Statistics {
  readonly width: number
  readonly tokens: number // N
  readonly gram: Floats // [width, width]
  readonly mean: Float64Array<ArrayBuffer> // μ [width]
  readonly gains?: Floats // γ of that norm [d]
  /** With a dense target: what the output is to have beyond `H Wᵀ`. */
  readonly gap?: Gap
}

export class GramAccumulator implements Accumulator {
  readonly #products: SymmetricSum
  readonly #sum: Floats // Σ H
  readonly #tokens = new Float64Array(1)

  constructor(
    readonly engine: Engine,
    readonly width: number,
  ) {
    this.#products = engine.linalg.syrk(width, 'gram')
    this.#sum = new Float32Array(width)
  }

  async add({ h, tokens, scale, squares }: Omit<Observed, 'x' | 'y'>): Promise<void> {
    const sum = new Float32Array(this.width)
    const feeds = { h: asValues(h, tokens), scale }
    const graph = scale ? 'gram sum weighted' : 'gram sum'
    await this.engine.run(graph, () => sumGraph(scale), feeds, { sum: values(sum, [this.width]) })
    addTo(this.#sum, sum)
    await this.#products.add(h)
    this.#tokens[0] += squares ?? tokens
  }

  /** @param group each rank has one, of its part of the tokens; the root gets what all have, the others nothing to go by */
  async finish(group = ALONE): Promise<Statistics> {
    await group.sumAtRoot(await this.#products.parts(), this.#sum, this.#tokens)
    const [tokens] = this.#tokens
    const gram = group.rank === 0 ? await this.#products.whole() : new Float32Array()
    return { width: this.width, tokens, gram, mean: new Float64Array(this.#sum).map(s => s / tokens) }
  }
}

/** What W [d, width] counts as: diag(γ) W. */
export const countedRows = (weight: Floats, { gains, width }: Statistics): Floats =>
  gains ? weight.map((w, i) => w * gains[Math.floor(i / width)]) : weight

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
  const products = engine.linalg.syrk(at.length, 'energy')
  await products.add(w)
  return products.inner((i, from, line) => {
    const row = at[i] * width
    let sum = 0
    for (let j = 0; j < line.length; j++) sum += gram[row + at[from + j]] * line[j]
    return sum
  })
}

/** The sum of each row of `h` [width, tokens], each token times its `scale` where there is one. */
function sumGraph(scale?: Tensor): Graph {
  const g = new Graph('sum')
  const h = g.input('h', 'float32', ['m', 'n'])
  const rows = scale ? g.op('Mul', [h, g.op('Transpose', [g.input('scale', 'float32', ['n', 1])])]) : h
  g.output('sum', g.op('ReduceSum', [rows, g.constant('int64', [1])], { keepdims: 0 }), 'float32', ['m'])
  return g
}
