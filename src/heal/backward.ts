// Gradients of what the forward pass runs. The runner of half-blocks and the head make graphs and feeds as always (src/forward); the engine that
// they have here runs, in place of each graph, the one that differentiate.ts makes of it. So there is no second copy of either.
// Attention is of products here: the other dialects have operators of ONNX Runtime that have no rules (graphs/attention.ts).
import { type Engine, type Tensor, type Values, values } from '../engine/engine.ts'
import type { Run } from '../engine/graph-runtime.ts'
import { UnsupportedModelError } from '../errors.ts'
import type { Graph } from '../formats/onnx.ts'
import type { Floats } from '../formats/tensors.ts'
import { Head } from '../forward/head.ts'
import { HalfBlockRunner } from '../forward/runner.ts'
import type { HalfWeights, LinearWeights } from '../forward/weights.ts'
import { isBeside } from '../model/half-block.ts'
import { differentiate } from './differentiate.ts'

/** Gradients of the weights of a half-block, as those lie in it. Norms are left out where nobody asked for theirs. */
export type HalfGradients = Pick<HalfWeights, 'norms' | 'inputs' | 'output'>

/** What is to be known of a graph. */
interface Asked {
  /** Gradient of its output, in its shape. */
  readonly dy: Floats
  /** By the names of inputs: where gradients go. */
  readonly put: Readonly<Record<string, Floats>>
  /** By the names of inputs: what gradients are added to. */
  readonly add: Readonly<Record<string, Floats>>
}

/** Room for the gradients of a half-block, zeros. */
export function zeroGradients({ inputs, output, norms }: HalfWeights, withNorms = false): HalfGradients {
  const zeros = ({ weight, bias }: LinearWeights): LinearWeights => ({
    weight: new Float32Array(weight.length),
    bias: bias && new Float32Array(bias.length),
  })
  const ofNorm = (feeds: Readonly<Record<string, Values<Floats>>>) =>
    Object.fromEntries(
      Object.entries(feeds).map(([name, w]) => [name, values(new Float32Array(w.data.length), w.shape)]),
    )
  const ofNorms = Object.entries(withNorms ? norms : {}).map(([role, feeds]) => [role, ofNorm(feeds)])
  return { norms: Object.fromEntries(ofNorms), inputs: inputs.map(zeros), output: zeros(output) }
}

/** By the names that graphs have for the weights (graphs/layers.ts). */
function named({ norms, inputs, output }: HalfGradients): Record<string, Floats> {
  const layer = (name: string, { weight, bias }: LinearWeights) => ({
    [`${name}.weight`]: weight,
    ...(bias && { [`${name}.bias`]: bias }),
  })
  const ofNorms = Object.values(norms).flatMap(feeds => Object.entries(feeds))
  return Object.assign(
    Object.fromEntries(ofNorms.map(([name, { data }]) => [name, data])),
    layer('out', output),
    ...inputs.map((linear, i) => layer(`in${i}`, linear)),
  )
}

/** Runs half-blocks backwards, over windows of up to `positions` tokens. */
export class BackwardRunner {
  readonly #runner: HalfBlockRunner
  #asked?: Asked

  constructor(engine: Engine, positions: number) {
    const run = gradientRun(engine, () => this.#asked!)
    const products: Engine = {
      ...engine,
      run,
      dialect: { ...engine.dialect, attention: 'products' },
      inPrecision: () => products,
    }
    this.#runner = new HalfBlockRunner(products, positions)
  }

  /**
   * From the gradient of what a half-block gives to that of what it takes: `dx` [tokens, d] of the stream before it, and `dread` of the rows
   * that it reads, where those are others. Adds the gradients of its weights to `sums`, where these are given.
   * @param x the stream before it [tokens, d] of `windows` windows @param dy of the stream after it [tokens, d]
   * @throws UnsupportedModelError for a mixture of experts
   */
  async back(
    weights: HalfWeights,
    x: Floats,
    windows: number,
    dy: Floats,
    sums: HalfGradients | undefined,
    read: Floats = x,
  ) {
    if (weights.experts)
      throw new UnsupportedModelError('Gradients of mixtures of experts are not there yet; take a model without them.')
    const dx: Floats = new Float32Array(x.length)
    const dread: Floats | undefined = isBeside(weights.half) ? new Float32Array(x.length) : undefined
    this.#asked = { dy, put: { x: dx, ...(dread && { read: dread }) }, add: sums ? named(sums) : {} }
    await this.#runner.forward(weights, x, windows, read)
    return { dx, dread }
  }
}

/** From the gradient of logits `dy` [n, vocabulary] to that of the rows `x` [n, d] that they come from by a head. */
export async function backThroughHead(head: Head, x: Floats, dy: Floats): Promise<Floats> {
  const dx: Floats = new Float32Array(x.length)
  let first = 0 // column of a part of the vocabulary, of which there may be several
  const run = gradientRun(head.engine, ([n, columns]) => {
    const part = columns * n === dy.length ? dy : columnsOf(dy, n, first, columns)
    first += columns
    return { dy: part, put: {}, add: { x: dx } }
  })
  await new Head({ ...head.engine, run }, head.model, head.feeds, head.partBytes).logits(x, new Float32Array(dy.length))
  return dx
}

/** Runs, in place of a graph with one output, that of its gradients; the output stays as it is. @param asked of an output of this shape */
const gradientRun =
  (engine: Engine, asked: (shape: readonly number[]) => Asked): Run =>
  (key, build, feeds, outputs) => {
    const [[output, { shape }]] = Object.entries(outputs)
    const { dy, put, add } = asked(shape)
    const names = [...Object.keys(put), ...Object.keys(add)]
    const of = (prefix: string, arrays: Readonly<Record<string, Floats>>): [string, Tensor][] =>
      Object.entries(arrays).map(([name, data]) => [`${prefix} ${name}`, values(data, feeds[name]!.shape)])
    return engine.run(
      `backward ${names} ${key}`,
      () => gradientGraph(build(), output, shape.length, Object.keys(put), Object.keys(add)),
      { ...feeds, dy: values(dy, shape), ...Object.fromEntries(of('sum', add)) },
      Object.fromEntries([...of('d', put), ...of('d', add)]),
    )
  }

/** The graph of the gradients `d <input>`: of the inputs `put` as they are, of `add` added to inputs `sum <input>`. */
function gradientGraph(g: Graph, output: string, rank: number, put: readonly string[], add: readonly string[]): Graph {
  const shapes = g.inputShapes
  const sizes = Array.from({ length: rank }, (_, axis) => `dy${axis}`)
  const dy = g.input('dy', 'float32', sizes)
  const of = differentiate(g, output, dy, [...put, ...add])
  const gradient = (name: string) => {
    if (!of.has(name)) throw new Error(`${output} does not depend on ${name}.`)
    return of.get(name)!
  }
  const sum = (name: string) => g.op('Add', [gradient(name), g.input(`sum ${name}`, 'float32', shapes.get(name)!)])
  g.outputOnly([
    ...put.map(name => [`d ${name}`, g.op('Identity', [gradient(name)]), shapes.get(name)!] as const),
    ...add.map(name => [`d ${name}`, sum(name), shapes.get(name)!] as const),
  ])
  return g
}

/** Some columns of a matrix [rows, ..]. */
function columnsOf(x: Floats, rows: number, first: number, columns: number): Floats {
  const width = x.length / rows
  const part: Floats = new Float32Array(rows * columns)
  for (let row = 0; row < rows; row++)
    part.set(x.subarray(row * width + first, row * width + first + columns), row * columns)
  return part
}
