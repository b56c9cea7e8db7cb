// Statistics of hidden activations: `G = HᵀH` and `μ`, accumulated batch by batch on the engine in float32. Make, accumulate, finish.
import { type Engine, values } from '../engine/engine.ts'
import { Graph } from '../formats/onnx.ts'

/** What score and restoration need to know of `H` [tokens, width]. */
export interface Statistics {
  readonly width: number
  readonly tokens: number
  readonly gram: Float32Array<ArrayBuffer> // [width, width]
  readonly mean: Float64Array<ArrayBuffer> // [width]
}

export class GramAccumulator {
  readonly #gram: Float32Array<ArrayBuffer>
  readonly #sum: Float32Array<ArrayBuffer>
  #tokens = 0

  constructor(
    readonly engine: Engine,
    readonly width: number,
  ) {
    this.#gram = new Float32Array(width * width)
    this.#sum = new Float32Array(width)
  }

  async accumulate(h: Float32Array<ArrayBuffer>): Promise<void> {
    const { width } = this
    const tokens = h.length / width
    const gram = values(this.#gram, [width, width])
    const sum = values(this.#sum, [width])
    await this.engine.run(
      'gram',
      gramGraph,
      { h: values(h, [tokens, width]), gram, sum },
      { newGram: gram, newSum: sum },
    )
    this.#tokens += tokens
  }

  finish(): Statistics {
    const mean = Float64Array.from(this.#sum, s => s / this.#tokens)
    return { width: this.width, tokens: this.#tokens, gram: this.#gram, mean }
  }
}

/** `G ← G + HᵀH`, `s ← s + Σ H`, in place. */
function gramGraph(): Graph {
  const g = new Graph('gram')
  const h = g.input('h', 'float32', ['n', 'm'])
  const gram = g.input('gram', 'float32', ['m', 'm'])
  const sum = g.input('sum', 'float32', ['m'])
  g.output('newGram', g.op('Gemm', [h, h, gram], { transA: 1 }), 'float32', ['m', 'm'])
  const column = g.op('ReduceSum', [h, g.constant('int64', [0])], { keepdims: 0 })
  g.output('newSum', g.op('Add', [sum, column]), 'float32', ['m'])
  return g
}
