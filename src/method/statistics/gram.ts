// Statistics of hidden activations: `G = HᵀH` and `μ`, added up by the engine in float32 from batches of `Hᵀ` [width,
// tokens].
import { asValues, type Engine, values } from '../../engine/engine.ts'
import type { SymmetricSum } from '../../engine/linalg/linalg.ts'
import { runFormula } from '../../engine/linalg/rows.ts'
import { addTo } from '../../engine/linalg/sums.ts'
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

/** Statistics of `H` [tokens, width]. Where a norm follows, H is r H, N is Σ r², and μ weighs H by r². */
export interface Statistics {
  readonly width: number
  readonly tokens: number // N
  readonly gram: Floats // [width, width]
  readonly mean: Float64Array<ArrayBuffer> // μ [width]
  readonly gains?: Floats // γ of that norm [d]
  /** With a dense target: the wanted output beyond `H Wᵀ`. */
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
    await runFormula(this.engine, graph, feeds, { sum: values(sum, [this.width]) }, (g, of) => {
      const rows = scale ? g.op('Mul', [of.h, g.op('Transpose', [of.scale])]) : of.h
      return { sum: g.op('ReduceSum', [rows, g.constant('int64', [1])], { keepdims: 0 }) }
    })
    addTo(this.#sum, sum)
    await this.#products.add(h)
    this.#tokens[0] += squares ?? tokens
  }

  /** The root gets the statistics over all ranks, the others an empty `gram`. */
  async finish(group = ALONE): Promise<Statistics> {
    await group.sumAtRoot(await this.#products.parts(), this.#sum, this.#tokens)
    const [tokens] = this.#tokens
    const gram = group.rank === 0 ? await this.#products.whole() : new Float32Array()
    return { width: this.width, tokens, gram, mean: new Float64Array(this.#sum).map(s => s / tokens) }
  }
}

/** diag(γ) W [d, width]. */
export const countedRows = (weight: Floats, { gains, width }: Statistics): Floats =>
  gains ? weight.map((w, i) => w * gains[Math.floor(i / width)]) : weight

/**
 * `⟨W G, W⟩` over the columns `at`, the energy of their output, as `⟨G, WᵀW⟩`, of which half is computed.
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
