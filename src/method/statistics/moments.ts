// Mean μ_j and variance F_j = Σ_t (h_tj − μ_j)² / (N − 1) of the columns of H, over batches and ranks.
// Source: Chan, Golub & LeVeque, The American Statistician 1983.
import { asValues, type Engine, values } from '../../engine/engine.ts'
import { runFormula } from '../../engine/linalg/rows.ts'
import type { Accumulator, Observed } from '../../forward/observation.ts'
import { ALONE } from '../../ranks/group.ts'

type Doubles = Float64Array<ArrayBuffer>

export interface Moments {
  readonly mean: Doubles // [width]
  readonly variance: Doubles // [width]
}

export class MomentAccumulator implements Accumulator {
  readonly #mean: Doubles
  readonly #squares: Doubles // Σ (h − μ)²
  #tokens = 0

  constructor(
    readonly engine: Engine,
    readonly width: number,
  ) {
    this.#mean = new Float64Array(width)
    this.#squares = new Float64Array(width)
  }

  async add({ h, tokens }: Pick<Observed, 'h' | 'tokens'>): Promise<void> {
    const { width } = this
    const [mean, squares] = [new Float32Array(width), new Float32Array(width)]
    const outputs = { mean: values(mean, [width, 1]), squares: values(squares, [width, 1]) }
    await runFormula(this.engine, 'moments', { h: asValues(h, tokens) }, outputs, (g, { h }) => {
      const mean = g.op('ReduceMean', [h, g.constant('int64', [1])], { keepdims: 1 })
      const deviations = g.op('Sub', [h, mean])
      return { mean, squares: g.op('ReduceSumSquare', [deviations, g.constant('int64', [1])], { keepdims: 1 }) }
    })
    this.#include(mean, squares, tokens)
  }

  #include(mean: ArrayLike<number>, squares: ArrayLike<number>, tokens: number): void {
    const all = this.#tokens + tokens
    if (all === 0) return
    for (let j = 0; j < this.width; j++) {
      const step = mean[j] - this.#mean[j]
      this.#squares[j] += squares[j] + (step ** 2 * this.#tokens * tokens) / all
      this.#mean[j] += (step * tokens) / all
    }
    this.#tokens = all
  }

  async finish(group = ALONE): Promise<Moments> {
    const own = { mean: this.#mean, squares: this.#squares, tokens: this.#tokens }
    const [first, ...others] = await group.gather(own)
    this.#mean.set(first.mean)
    this.#squares.set(first.squares)
    this.#tokens = first.tokens
    for (const { mean, squares, tokens } of others) this.#include(mean, squares, tokens)
    return { mean: this.#mean, variance: this.#squares.map(sum => sum / Math.max(1, this.#tokens - 1)) }
  }
}
