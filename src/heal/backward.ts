// Gradients of the forward pass. The runner of half-blocks and the head make graphs and feeds as always (src/forward),
// but their engine runs the derivative of each graph (differentiate.ts), so that there is no second copy of either. In
// a mixture y = x + Σ γ f(x) each expert is an FFN, and the gates γ have the gradients ⟨dy, f(x)⟩. Attention is made of
// products: operators of other dialects have no rules (graphs/attention.ts).
import {
  asValues,
  type Engine,
  hostOf,
  type Precision,
  type Rows,
  type Tensor,
  type Values,
  values,
} from '../engine/engine.ts'
import type { Run } from '../engine/graph-runtime.ts'
import { addRows, drop } from '../engine/linalg/rows.ts'
import { pickRows } from '../engine/linalg/scatter.ts'
import { addTo } from '../engine/linalg/sums.ts'
import type { Graph } from '../formats/onnx.ts'
import type { Floats } from '../formats/tensors.ts'
import { Head } from '../forward/head.ts'
import { type Route, routes } from '../forward/routes.ts'
import { HalfBlockRunner, wholeOutput } from '../forward/runner.ts'
import type { HalfWeights, LinearWeights } from '../forward/weights.ts'
import {
  type Experts,
  type FfnHalf,
  hiddenSize,
  hiddenWidth,
  isBeside,
  type Linear,
  plainHalves,
} from '../model/half-block.ts'
import { differentiate } from './differentiate.ts'

/** Gradients of the weights of a half-block; of norms only on request. */
export interface HalfGradients<T = Floats> extends Pick<HalfWeights, 'norms'> {
  readonly inputs: readonly LinearGradients<T>[]
  readonly output: LinearGradients<T>
  /** Of a mixture, whose own `inputs` and `output` are empty. All experts share its `norms`. */
  readonly experts?: { readonly router: T; readonly of: readonly HalfGradients<T>[] }
}

interface LinearGradients<T> {
  readonly weight: T
  readonly bias?: T
}

/** Sums of gradients. */
export type GradientSums = HalfGradients<Values<Floats>>

/** The gradients that a graph is to compute. */
interface Asked {
  /** Gradient of its output, in its shape. */
  readonly dy: Values<Floats>
  /** Gradients to write, by names of inputs, in their shapes. */
  readonly put: Readonly<Record<string, Values<Floats>>>
  /** Sums to add gradients to, likewise. */
  readonly add: Readonly<Record<string, Values<Floats>>>
}

/** Room for the gradients of a half-block, zeros. */
export function zeroGradients({ array }: Engine, weights: HalfWeights, withNorms = false): GradientSums {
  const { half, inputs, output, norms: own, experts } = weights
  const zeros = ({ weight, bias }: LinearWeights, columns: number): LinearGradients<Values<Floats>> => ({
    weight: array([weight.length / columns, columns]),
    bias: bias && array([bias.length]),
  })
  const ofNorm = (feeds: Readonly<Record<string, Values<Floats>>>) =>
    Object.fromEntries(Object.entries(feeds).map(([name, { shape }]) => [name, array(shape)]))
  const ofNorms = Object.entries(withNorms ? own : {}).map(([role, feeds]) => [role, ofNorm(feeds)])
  const norms = Object.fromEntries(ofNorms)
  const ofLayer = ({ in: columns, out, bias }: Linear): LinearGradients<Values<Floats>> => ({
    weight: array([out, columns]),
    bias: bias ? array([out]) : undefined,
  })
  const of = () =>
    plainHalves(half).map(one => ({ norms, inputs: one.inputs.map(ofLayer), output: ofLayer(one.output) }))
  return {
    norms,
    inputs: inputs.map(layer => zeros(layer, hiddenSize(half))),
    output: experts ? { weight: array([0]) } : zeros(output, hiddenWidth(half)),
    ...(experts && {
      experts: { router: array([experts.router.weight.length / hiddenSize(half), hiddenSize(half)]), of: of() },
    }),
  }
}

/** Brings sums into this machine's memory. */
export async function summed({ norms, inputs, output, experts }: GradientSums): Promise<HalfGradients> {
  for (const feeds of Object.values(norms)) for (const of of Object.values(feeds)) await hostOf(of)
  const layer = async ({ weight, bias }: LinearGradients<Values<Floats>>) => ({
    weight: await hostOf(weight),
    bias: bias && (await hostOf(bias)),
  })
  return {
    norms,
    inputs: await Promise.all(inputs.map(layer)),
    output: await layer(output),
    ...(experts && {
      experts: { router: await hostOf(experts.router), of: await Promise.all(experts.of.map(summed)) },
    }),
  }
}

/** By the names of weights in graphs (graphs/layers.ts). */
function named({ norms, inputs, output }: GradientSums): Record<string, Values<Floats>> {
  const layer = (name: string, { weight, bias }: LinearGradients<Values<Floats>>) => ({
    [`${name}.weight`]: weight,
    ...(bias && { [`${name}.bias`]: bias }),
  })
  return Object.assign(
    {},
    ...Object.values(norms),
    layer('out', output),
    ...inputs.map((linear, i) => layer(`in${i}`, linear)),
  )
}

/** Runs half-blocks backwards, over windows of up to `positions` tokens. */
export class BackwardRunner {
  readonly #runner: HalfBlockRunner
  /** Forwards. */
  readonly #forward: HalfBlockRunner
  #asked?: Asked

  constructor(engine: Engine, positions: number, products?: Precision) {
    this.#forward = new HalfBlockRunner(engine, positions, products)
    const backwards = (engine: Engine, inPrecision: Engine['inPrecision']): Engine => ({
      ...engine,
      run: gradientRun(engine, () => this.#asked!),
      dialect: { ...engine.dialect, attention: 'products' },
      inPrecision,
    })
    const graphs = backwards(this.#forward.graphs, () => graphs)
    this.#runner = new HalfBlockRunner(
      backwards(engine, () => graphs),
      positions,
    )
  }

  /**
   * From the gradient of the stream after a half-block to `dx` [tokens, d] of the stream before it, and `dread` of its
   * input where that is another. Adds gradients of weights to `sums`, if given.
   * @param x the stream before it [tokens, d] of `windows` windows @param dy of the stream after it [tokens, d]
   */
  async back(
    weights: HalfWeights,
    x: Values<Floats>,
    windows: number,
    dy: Values<Floats>,
    sums: GradientSums | undefined,
    read: Rows = x,
  ) {
    const { array } = this.#forward.engine
    if (weights.experts)
      return { dx: array(x.shape, await this.#mixture(weights, await hostOf(x), await hostOf(dy), sums)) }
    const dx = array(x.shape)
    const dread = isBeside(weights.half) ? array(x.shape) : undefined
    this.#asked = { dy, put: { x: dx, ...(dread && { read: dread }) }, add: sums ? named(sums) : {} }
    await this.#runner.forward(weights, x, windows, read)
    return { dx, dread }
  }

  /** One expert after the other, and the gates. The routes have no gradient. */
  async #mixture(w: HalfWeights, x: Floats, dy: Floats, sums: GradientSums | undefined): Promise<Floats> {
    const { experts } = w.half as FfnHalf
    const [d, count] = [hiddenSize(w.half), experts!.router.out]
    const gates = await this.#forward.gates(w, asValues(x, d))
    const chosen = routes(gates, experts!)
    const dGates: Floats = new Float32Array(gates.length)
    const dx = dy.slice()
    for (const [e, route] of chosen.entries()) {
      const { rows, gates: factors } = route
      if (rows.length === 0) continue
      const expert = await w.experts!.read(e)
      const h = await this.#forward.expertHidden(expert, route, asValues(x, d))
      const update = await hostOf(await this.#forward.expertOutput(expert, wholeOutput(expert), h))
      drop(h)
      const [own, dOwn] = [x, dy].map(all => pickRows(all, rows, d))
      for (let i = 0, at = 0; i < rows.length; i++) {
        let along = 0
        for (const end = at + d; at < end; at++) {
          along += dOwn[at] * update[at]
          dOwn[at] *= factors[i]
        }
        if (factors[i] > 0) dGates[rows[i] * count + e] = along / factors[i]
      }
      const [rowsOf, dOf] = [own, dOwn].map(rows => asValues(rows, d))
      const dExpert = await hostOf((await this.back(expert, rowsOf, 1, dOf, sums?.experts?.of[e])).dx)
      for (let i = 0; i < dOwn.length; i++) dExpert[i] -= dOwn[i] // the way around the expert
      await addRows(this.#forward.engine, asValues(dx, d), rows, asValues(dExpert, d))
    }
    if (experts!.normalised) throughSum(dGates, gates, chosen, experts!)
    const dOfGates: Floats = new Float32Array(x.length)
    const add = { ...sums?.norms.before, ...(sums?.experts && { 'router.weight': sums.experts.router }) }
    this.#asked = { dy: asValues(dGates, count), put: { x: asValues(dOfGates, d) }, add }
    await this.#runner.gates(w, asValues(x, d))
    addTo(dx, dOfGates)
    return dx
  }
}

/** From gradients by γ = p / Σ p of the experts that a token goes to, to those by p, in place: (dγ − Σ γ dγ) / Σ p. */
function throughSum(d: Floats, gates: Floats, chosen: readonly Route[], { router: { out: count } }: Experts): void {
  const tokens = gates.length / count
  const [sums, means] = [new Float64Array(tokens), new Float64Array(tokens)]
  const each = (visit: (at: number, token: number, factor: number) => void) => {
    for (const [e, { rows, gates }] of chosen.entries())
      for (const [i, token] of rows.entries()) visit(token * count + e, token, gates[i])
  }
  each((at, token, factor) => {
    sums[token] += gates[at]
    means[token] += factor * d[at]
  })
  each((at, token) => {
    d[at] = (d[at] - means[token]) / sums[token]
  })
}

/** From the gradient of logits `dy` [n, vocabulary] to that of the rows `x` [n, d] that they come from by a head. */
export async function backThroughHead(head: Head, x: Values<Floats>, dy: Values<Floats>): Promise<Values<Floats>> {
  const { engine } = head
  const dx = engine.array(x.shape)
  let first = 0 // column of a part of the vocabulary, of which there may be several
  const run = gradientRun(engine, async shape => {
    const columns = shape[1]
    const part = columns === dy.shape[1] ? dy : values(columnsOf(await hostOf(dy), shape[0], first, columns), shape)
    first += columns
    return { dy: part, put: {}, add: { x: dx } }
  })
  await new Head({ ...engine, run }, head.model, head.feeds, head.partBytes).logits(x, engine.array(dy.shape))
  return dx
}

/** Runs the gradients of a graph in its place; its output is not written. @param asked for an output of this shape */
const gradientRun =
  (engine: Engine, asked: (shape: readonly number[]) => Asked | Promise<Asked>): Run =>
  async (key, build, feeds, outputs) => {
    const [[output, { shape }]] = Object.entries(outputs)
    const { dy, put, add } = await asked(shape)
    const names = [...Object.keys(put), ...Object.keys(add)]
    const of = (prefix: string, arrays: Readonly<Record<string, Tensor>>) =>
      Object.entries(arrays).map(([name, array]) => [`${prefix} ${name}`, array] as const)
    await engine.run(
      `backward ${names} ${key}`,
      () => gradientGraph(build(), output, shape.length, Object.keys(put), Object.keys(add)),
      { ...feeds, dy, ...Object.fromEntries(of('sum', add)) },
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
