// XᵀX and Xᵀ(Y − X) of the normalised rows X of the pruned and Y of the dense stream [tokens, d], for restore/align.ts.
import { asValues, type Engine, type Feeds, hostOf, type Values } from '../../engine/engine.ts'
import { Graph } from '../../formats/onnx.ts'
import type { Floats } from '../../formats/tensors.ts'
import type { Observed } from '../../forward/observation.ts'
import { inputNorm } from '../../graphs/layers.ts'
import type { Norm } from '../../model/half-block.ts'
import { ALONE } from '../../ranks/group.ts'

export class AlignmentAccumulator {
  readonly #gram: Values<Floats> // [d, d]
  readonly #cross: Values<Floats> // [d, d]

  /** @param norm before the input layers, if there is one @param weights of the norm, under the role `before` */
  constructor(
    readonly engine: Engine,
    readonly d: number,
    readonly norm?: Norm,
    readonly weights?: Feeds,
  ) {
    this.#gram = engine.array([d, d])
    this.#cross = engine.array([d, d])
  }

  /** @param observed rows of both streams before the half-block [tokens, d] */
  async add({ x, y }: Required<Pick<Observed, 'x' | 'y'>>): Promise<void> {
    const { engine, d, norm } = this
    const [gram, cross] = [this.#gram, this.#cross]
    const feeds = { ...this.weights, x: asValues(x, d), y: asValues(y, d), gram, cross }
    const key = `align ${norm?.type} ${d} ${norm?.epsilon}`
    await engine.run(key, () => alignGraph(d, norm), feeds, { newGram: gram, newCross: cross })
  }

  /** The root gets the sums over all ranks. */
  async finish(group = ALONE): Promise<{ readonly gram: Floats; readonly cross: Floats }> {
    const [gram, cross] = [await hostOf(this.#gram), await hostOf(this.#cross)]
    await group.sumAtRoot(gram, cross)
    return { gram, cross }
  }
}

/** Adds up `XᵀX` and `Xᵀ(Y − X)` in place, from `x` and `y` [n, d]. */
function alignGraph(d: number, norm?: Norm): Graph {
  const g = new Graph('align')
  const rows = g.op('Concat', [g.input('x', 'float32', ['n', d]), g.input('y', 'float32', ['n', d])], { axis: 0 })
  const [x, y] = g.ops('Split', [norm ? inputNorm(g, rows, norm, 'before') : rows], 2, { axis: 0, num_outputs: 2 })
  const add = (sum: string, right: string, out: string) =>
    g.output(out, g.op('Gemm', [x, right, g.input(sum, 'float32', [d, d])], { transA: 1 }), 'float32', [d, d])
  add('gram', x, 'newGram')
  add('cross', g.op('Sub', [y, x]), 'newCross')
  return g
}
