// After the last layer: final norm, projection and head, and measures of the logits.
import { Graph } from '../formats/onnx.ts'
import type { Architecture } from '../model/architecture.ts'
import { inputNorm } from './layers.ts'

/** Graph of the logits [n, v] of `x` [n, d] by `head` [v, e]; of probabilities with an input `cold` = 1/temperature. */
export function logitsGraph(a: Architecture, sampling: boolean): Graph {
  const g = new Graph('logits')
  let y = g.input('x', 'float32', ['n', a.hiddenSize])
  if (a.finalNorm) y = inputNorm(g, y, a.finalNorm, 'norm')
  if (a.names.projectOut)
    y = g.op('Gemm', [y, g.input('project', 'float32', [a.embeddingSize, a.hiddenSize])], { transB: 1 })
  const head = g.input('head', 'float32', ['v', a.embeddingSize])
  y = g.op('Gemm', [y, head], { transB: 1, ...(a.logitScale && { alpha: { float: a.logitScale } }) })
  if (sampling) y = g.op('Softmax', [g.op('Mul', [y, g.input('cold', 'float32', [])])], { axis: -1 })
  g.output('logits', y, 'float32', ['n', 'v'])
  return g
}

/** Graph of `nll` [n, 1] = −log softmax(logits)[target], from `logits` [n, v] and `targets` [n, 1]. */
export function lossGraph(): Graph {
  const g = new Graph('loss')
  const log = g.op('LogSoftmax', [g.input('logits', 'float32', ['n', 'v'])], { axis: -1 })
  const picked = g.op('GatherElements', [log, g.input('targets', 'int64', ['n', 1])], { axis: 1 })
  g.output('nll', g.op('Neg', [picked]), 'float32', ['n', 1])
  return g
}

/** Graph of `same` [n, 1]: 1 where `logits` and `others` have the same most likely token, or else 0. */
export function agreementGraph(): Graph {
  const g = new Graph('agreement')
  const [p, q] = ['logits', 'others'].map(name =>
    g.op('ArgMax', [g.input(name, 'float32', ['n', 'v'])], { axis: -1, keepdims: 1 }),
  )
  g.output('same', g.cast(g.op('Equal', [p, q]), 'float32'), 'float32', ['n', 1])
  return g
}

/** Graph of `kl` [n, 1] = Σ p (log p − log q) of the models with `logits` (p) and `others` (q). */
export function divergenceGraph(): Graph {
  const g = new Graph('divergence')
  const [p, q] = ['logits', 'others'].map(name =>
    g.op('LogSoftmax', [g.input(name, 'float32', ['n', 'v'])], { axis: -1 }),
  )
  const terms = g.op('Mul', [g.op('Exp', [p]), g.op('Sub', [p, q])])
  g.output('kl', g.op('ReduceSum', [terms, g.constant('int64', [-1])], { keepdims: 1 }), 'float32', ['n', 1])
  return g
}
