// Losses in rows of logits, and their gradients on the way back to the stream. Their mean over N rows has the gradient
// (q − p) / N by the logits of q = softmax(logits), where p is the wanted distribution: the dense model's (KL), or all
// on one token (cross entropy). Of a distribution cut to its top k tokens K, with one bucket R for the rest (pR = 1 −
// Σ_K p):
//   KL = Σ_K p (log p − log q) + pR (log pR − log qR);  by the logits of K (q − p), of the others q (1 − pR / qR)
import { asValues, type Engine, hostOf, type Rows, type Values, values } from '../engine/engine.ts'
import { rowsOf } from '../engine/values.ts'
import { Graph, type Value } from '../formats/onnx.ts'
import type { Floats } from '../formats/tensors.ts'
import { type Head, headRows } from '../forward/head.ts'
import { divergenceGraph, lossGraph } from '../graphs/head.ts'
import { backThroughHead } from './backward.ts'
import { differentiate } from './differentiate.ts'

/**
 * Sum of the losses of the rows from `first` on (counted over all windows), times `weight`, from their logits [n,
 * vocabulary].
 * @param d where its gradient by the logits goes [n, vocabulary]
 */
export type RowLoss = (first: number, logits: Rows, weight: number, d: Rows) => Promise<number>

/** The same by rows of the stream `x` [n, d] after the last layer, of any number; the gradient is by these. */
export type StreamLoss = (first: number, x: Rows, weight: number) => Promise<{ loss: number; dx: Values<Floats> }>

/** Most likely tokens of rows, and what is left for all others. */
export interface TopProbabilities {
  readonly ids: Int32Array<ArrayBuffer> // [n, k]
  /** log p */
  readonly top: Floats // [n, k]
  /** The sum of the others' p. */
  readonly rest: Floats // [n]
}

/** Logarithm of a probability of 0, and a probability that may be divided by. */
const [NEVER, LEAST] = [-30000, 1e-30]

/** A loss of logits as one of what these come from. */
export const throughHead =
  (head: Head, loss: RowLoss): StreamLoss =>
  async (first, stream, weight) => {
    const { engine, model } = head
    const [d, v, most] = [
      model.architecture.hiddenSize,
      model.architecture.vocabularySize,
      headRows(model.architecture),
    ]
    const x = asValues(stream, d)
    const [tokens] = x.shape
    const dx = new Float32Array(tokens * d)
    const rooms = [0, 1].map(() => head.room())
    let sum = 0
    for (let from = 0; from < tokens; from += most) {
      const rows = rowsOf(x, from, Math.min(from + most, tokens))
      const [n] = rows.shape
      const logits = await head.logitsIn(rooms[0], rows)
      const dLogits = engine.array([n, v], rooms[1].subarray(0, n * v))
      sum += await loss(first + from, logits, weight, dLogits)
      dx.set(await hostOf(await backThroughHead(head, rows, dLogits)), from * d)
      for (const used of [logits, dLogits]) used.drop?.()
    }
    return { loss: sum, dx: engine.array([tokens, d], dx) }
  }

/** KL(p ‖ q), where q is of the logits. @param wanted gives the logits [n, vocabulary] of p of so many rows */
export const divergenceFrom =
  (engine: Engine, wanted: (first: number, n: number) => Promise<Floats>, vocabulary: number): RowLoss =>
  async (first, logitsOf, weight, d) => {
    const others = asValues(logitsOf, vocabulary)
    const [n] = others.shape
    const logits = values(await wanted(first, n), others.shape)
    const weights = new Float32Array(n).fill(weight)
    return lossAndGradient(engine, divergenceGraph, ['kl', 'others'], { logits, others }, weights, d)
  }

/** −log q of the next token. @param targets of all rows, −1 where there is none */
export const crossEntropy =
  (engine: Engine, targets: Int32Array, vocabulary: number): RowLoss =>
  async (first, rows, weight, d) => {
    const logits = asValues(rows, vocabulary)
    const [n] = logits.shape
    const these = targets.subarray(first, first + n)
    const weights = Float32Array.from(these, id => (id < 0 ? 0 : weight))
    const next = BigInt64Array.from(these, id => BigInt(Math.max(0, id)))
    const feeds = { logits, targets: values(next, [n, 1]) }
    return lossAndGradient(engine, lossGraph, ['nll', 'logits'], feeds, weights, d)
  }

/** Runs a loss graph and its gradient by one input. @returns the weighted sum of losses */
async function lossAndGradient(
  engine: Engine,
  graph: () => Graph,
  [output, of]: readonly [output: string, of: string],
  inputs: Readonly<Record<string, Values>>,
  weights: Floats,
  d: Rows,
): Promise<number> {
  const n = weights.length
  const build = () => {
    const g = graph()
    const gradient = differentiate(g, output, g.input('weights', 'float32', ['n', 1]), [of]).get(of)!
    g.outputOnly([
      [output, output, ['n', 1]],
      ['d', gradient, ['n', 'v']],
    ])
    return g
  }
  const losses = new Float32Array(n)
  const feeds = { ...inputs, weights: values(weights, [n, 1]) }
  const outputs = { [output]: values(losses, [n, 1]), d: asValues(d, inputs[of].shape[1]) }
  await engine.run(`backward ${output}`, build, feeds, outputs)
  return weighted(losses, weights)
}

const weighted = (losses: Floats, weights: Floats): number =>
  losses.reduce((sum, loss, row) => sum + loss * weights[row], 0)

/** The `k` most likely tokens by rows of logits [n, vocabulary]. */
export async function topProbabilities(
  engine: Engine,
  rows: Rows,
  vocabulary: number,
  k: number,
): Promise<TopProbabilities> {
  const logits = asValues(rows, vocabulary)
  const [[n], count] = [logits.shape, Math.min(k, vocabulary)]
  const found = { ids: new Int32Array(n * count), top: new Float32Array(n * count), rest: new Float32Array(n) }
  const outputs = {
    ids: values(found.ids, [n, count]),
    top: values(found.top, [n, count]),
    rest: values(found.rest, [n, 1]),
  }
  await engine.run(`backward top ${count}`, () => topGraph(count), { logits }, outputs)
  return found
}

/** KL(p ‖ q) of p cut to its top tokens. @param wanted gives p of so many rows */
export const topDivergenceFrom =
  (engine: Engine, wanted: (first: number, n: number) => Promise<TopProbabilities>, vocabulary: number): RowLoss =>
  async (first, rows, weight, d) => {
    const logits = asValues(rows, vocabulary)
    const [n] = logits.shape
    const { ids, top, rest } = await wanted(first, n)
    const kl = new Float32Array(n)
    const shape = [n, ids.length / n]
    const feeds = { logits, ids: values(ids, shape), top: values(top, shape) }
    const weights = new Float32Array(n).fill(weight)
    await engine.run(
      'backward top kl',
      topDivergenceGraph,
      { ...feeds, rest: values(rest, [n, 1]), weights: values(weights, [n, 1]) },
      { kl: values(kl, [n, 1]), d: asValues(d, vocabulary) },
    )
    return weighted(kl, weights)
  }

const ROW = ['n', 'v']
const COLUMN = ['n', 1]

/** `Σ exp` [n, 1] of log-probabilities [n, v] but for those of `ids` [n, k]. */
function restOf(g: Graph, log: Value, ids: Value): Value {
  const never = g.op('Expand', [g.constant('float32', [NEVER]), g.op('Shape', [ids])])
  return sumOf(g, g.op('Exp', [g.op('ScatterElements', [log, ids, never], { axis: 1 })]))
}

const sumOf = (g: Graph, x: Value): Value => g.op('ReduceSum', [x, g.constant('int64', [-1])], { keepdims: 1 })

function topGraph(k: number): Graph {
  const g = new Graph('top')
  const log = g.op('LogSoftmax', [g.input('logits', 'float32', ROW)], { axis: -1 })
  const [top, found] = g.ops('TopK', [log, g.constant('int64', [k])], 2, { axis: -1 })
  const ids = g.cast(found, 'int32') // as scattering wants them on a GPU
  g.output('rest', restOf(g, log, ids), 'float32', COLUMN)
  g.output('top', top, 'float32', ['n', k])
  g.output('ids', ids, 'int32', ['n', k])
  return g
}

function topDivergenceGraph(): Graph {
  const g = new Graph('top divergence')
  const op = (type: string, ...inputs: Value[]) => g.op(type, inputs)
  const log = g.op('LogSoftmax', [g.input('logits', 'float32', ROW)], { axis: -1 })
  const [ids, top] = [g.input('ids', 'int32', ['n', 'k']), g.input('top', 'float32', ['n', 'k'])]
  const [rest, weights] = ['rest', 'weights'].map(name => g.input(name, 'float32', COLUMN))
  const atLeast = (x: Value) => op('Max', x, g.constant('float32', [LEAST]))
  const qTop = g.op('GatherElements', [log, ids], { axis: 1 })
  const qRest = atLeast(restOf(g, log, ids))
  const p = op('Exp', top)
  const ofRest = op('Mul', rest, op('Sub', op('Log', atLeast(rest)), op('Log', qRest)))
  g.output('kl', op('Add', sumOf(g, op('Mul', p, op('Sub', top, qTop))), ofRest), 'float32', COLUMN)
  const others = op('Mul', op('Exp', log), op('Sub', g.constant('float32', [1]), op('Div', rest, qRest)))
  const d = g.op('ScatterElements', [others, ids, op('Sub', op('Exp', qTop), p)], { axis: 1 })
  g.output('d', op('Mul', d, weights), 'float32', ROW)
  return g
}
