// The dense target: the difference of the dense and the pruned stream after a half-block, which columns of H make up
// for.
//   D = y_dense − (x + H Wᵀ + b),  wanted output: H Wᵀ + α D
// `Hᵀ(αD)` [width, d] goes into the right-hand side of the least squares. With z = y_dense − x − b, the half-block's
// output is not needed:
//   HᵀD = Hᵀz − G Wᵀ,  mean D = mean z − W μ,  ‖D‖² = ‖z‖² − 2⟨Hᵀz, Wᵀ⟩ + ⟨W G, W⟩
import { asValues, type Engine, hostOf, type Values, values } from '../../engine/engine.ts'
import { runFormula } from '../../engine/linalg/rows.ts'
import type { Floats } from '../../formats/tensors.ts'
import type { Accumulator, Observed } from '../../forward/observation.ts'
import { ALONE } from '../../ranks/group.ts'
import type { Statistics } from './gram.ts'

export class GapAccumulator implements Accumulator {
  readonly #cross: Values<Floats> // [width, d], Hᵀz
  readonly #sum: Floats // [d]
  readonly #energy = new Float64Array(1)

  constructor(
    readonly engine: Engine,
    readonly width: number,
    /** b [d], zeros where there is none */
    readonly bias: Floats,
  ) {
    this.#cross = engine.array([width, bias.length])
    this.#sum = new Float32Array(bias.length)
  }

  async add({ h, tokens, x, y, scale }: Observed): Promise<void> {
    const d = this.bias.length
    const cross = this.#cross
    const sum = values(this.#sum, [d])
    const energy = new Float32Array(1)
    const feeds = {
      h: asValues(h, tokens),
      x: asValues(x, d),
      y: asValues(y!, d),
      bias: values(this.bias, [d]),
      cross,
      sum,
      scale,
    }
    const outputs = { newCross: cross, newSum: sum, energy: values(energy, []) }
    await runFormula(this.engine, scale ? 'gap weighted' : 'gap', feeds, outputs, (g, of) => {
      // C ← C + Hᵀz, s ← s + Σ r z, and ‖z‖², with r = 1 where there is no scale
      const z = g.op('Sub', [g.op('Sub', [of.y, of.x]), of.bias])
      const rows = scale ? g.op('Mul', [z, of.scale]) : z
      const sum = g.op('ReduceSum', [rows, g.constant('int64', [0])], { keepdims: 0 })
      return {
        newCross: g.op('Gemm', [of.h, z, of.cross]),
        newSum: g.op('Add', [of.sum, sum]),
        energy: g.op('ReduceSumSquare', [z], { keepdims: 0 }),
      }
    })
    this.#energy[0] += energy[0]
  }

  /** @param statistics of H @param weight W [d, width] @returns undefined at other ranks than the root */
  async finish({ gram, mean, tokens }: Statistics, weight: Floats, alpha: number, group = ALONE) {
    const [width, d] = [this.width, this.bias.length]
    const sums = await hostOf(this.#cross)
    await group.sumAtRoot(sums, this.#sum, this.#energy)
    if (group.rank > 0) return undefined
    const wg = await this.engine.linalg.multiply(weight, gram, width) // W G
    let [energy] = this.#energy
    const meanGap = Float64Array.from(this.#sum, sum => sum / tokens)
    for (let o = 0, at = 0; o < d; o++)
      for (let j = 0; j < width; j++, at++) {
        const cross = j * d + o
        energy += weight[at] * (wg[at] - 2 * sums[cross])
        meanGap[o] -= weight[at] * mean[j]
        sums[cross] = alpha * (sums[cross] - wg[at])
      }
    return { cross: sums, mean: meanGap.map(m => alpha * m), energy: alpha ** 2 * Math.max(0, energy) }
  }
}
