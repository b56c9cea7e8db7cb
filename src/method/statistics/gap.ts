// The dense target: what the pruned stream lacks of the dense one after a half-block, as far as the columns of H can make up for it.
//   D = y_dense − (x + H Wᵀ + b),  wanted output: H Wᵀ + α D
// `Hᵀ(αD)` [width, d] is added to the right-hand side of the least squares. With z = y_dense − x − b, added up batch by batch,
//   HᵀD = Hᵀz − G Wᵀ,  mean D = mean z − W μ,  ‖D‖² = ‖z‖² − 2⟨Hᵀz, Wᵀ⟩ + ⟨W G, W⟩
// so that the output of the half-block is not computed for it.

import { asValues, type Engine, hostOf, type Tensor, type Values, values } from '../../engine/engine.ts'
import { Graph } from '../../formats/onnx.ts'
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
    await this.engine.run(scale ? 'gap weighted' : 'gap', () => gapGraph(scale), feeds, outputs)
    this.#energy[0] += energy[0]
  }

  /** @param statistics of H @param weight W [d, width] @param group as of `GramAccumulator`: undefined but at the root */
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

/** `C ← C + Hᵀz`, `s ← s + Σ z` in place, and `‖z‖²`; in Σ z each row times its `scale`, where there is one. */
function gapGraph(scale?: Tensor): Graph {
  const g = new Graph('gap')
  const h = g.input('h', 'float32', ['m', 'n'])
  const [x, y] = ['x', 'y'].map(name => g.input(name, 'float32', ['n', 'd']))
  const z = g.op('Sub', [g.op('Sub', [y, x]), g.input('bias', 'float32', ['d'])])
  const cross = g.op('Gemm', [h, z, g.input('cross', 'float32', ['m', 'd'])])
  g.output('newCross', cross, 'float32', ['m', 'd'])
  const rows = scale ? g.op('Mul', [z, g.input('scale', 'float32', ['n', 1])]) : z
  const sum = g.op('ReduceSum', [rows, g.constant('int64', [0])], { keepdims: 0 })
  g.output('newSum', g.op('Add', [g.input('sum', 'float32', ['d']), sum]), 'float32', ['d'])
  g.output('energy', g.op('ReduceSumSquare', [z], { keepdims: 0 }), 'float32', [])
  return g
}
