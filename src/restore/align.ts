// What the input layers of a half-block get to see, turned towards what the dense model's get. X and Y [tokens, d] are the normalised rows
// of the pruned and of the dense stream. The linear map that takes X closest to Y,
//   Z = argmin ‖Y − X (I + Z)‖² + δ‖Z‖²,  that is (XᵀX + δI) Z = Xᵀ(Y − X),
// goes into the input layers, α of the way: W' = W (I + αZ)ᵀ. They keep their shapes, so that it costs nothing later.
// Ours; GPTAQ (arXiv 2504.02692) quantises layers towards the outputs of the unquantised model in the same spirit.
import type { HalfBlockRunner } from '../blocks/halfblock.ts'
import { norm } from '../blocks/norm.ts'
import type { Stream } from '../blocks/stream.ts'
import type { HalfWeights } from '../blocks/weights.ts'
import type { DenseTarget } from '../calibrate/hidden-pass.ts'
import { factorDamped } from '../calibrate/system.ts'
import { values } from '../engine/engine.ts'
import { Graph } from '../formats/onnx.ts'
import { solve } from '../linalg/cholesky.ts'
import { matrix } from '../linalg/gemm.ts'
import { multiply } from '../linalg/product.ts'
import { transposed } from '../linalg/scatter.ts'
import { type Architecture, graphKey } from '../model/architecture.ts'
import { allColumns } from '../select/top.ts'

/** @param stream the pruned one before the half-block; the dense target is at the same place. @returns the half-block with its new input layers, and the `damp` that the factorisation took */
export async function alignInputs(
  runner: HalfBlockRunner,
  stream: Stream,
  weights: HalfWeights,
  dense: DenseTarget,
  damp: number,
  signal?: AbortSignal,
): Promise<{ readonly weights: HalfWeights; readonly damp: number }> {
  const { engine, architecture: a } = runner
  const d = a.hiddenSize
  const [gram, cross] = [0, 0].map(() => values(new Float32Array(d * d), [d, d])) // XᵀX and Xᵀ(Y − X)
  for (const batch of stream.batches) {
    signal?.throwIfAborted()
    const [x, y] = [await stream.rows.load(batch), await dense.stream.rows.load(batch)]
    const shape = [batch.tokens, d]
    const feeds = { ...weights.norm, x: values(x, shape), y: values(y, shape), gram, cross }
    await engine.run(`align ${graphKey(a)}`, () => alignGraph(a), feeds, { newGram: gram, newCross: cross })
  }
  const statistics = { width: d, tokens: stream.tokens, gram: gram.data, mean: new Float64Array(d) }
  const system = await factorDamped(engine, statistics, undefined, allColumns(d), { damp, layer: weights.half.norm })
  if (!system) return { weights, damp }
  const z = matrix(d, d, Float64Array.from(cross.data))
  await solve(engine, system.factor, z)
  const turn = transposed(
    Float32Array.from(z.data, v => dense.alpha * v),
    d,
  ) // αZᵀ
  const inputs = []
  for (const { weight, bias } of weights.inputs) {
    const change = await multiply(engine, weight, turn, d)
    inputs.push({ weight: weight.map((w, i) => w + change[i]), bias })
  }
  return { weights: { ...weights, inputs }, damp: system.damp }
}

/** `XᵀX` and `Xᵀ(Y − X)`, added up in place, of the normalised rows of `x` and `y` [n, d]. */
function alignGraph(a: Architecture): Graph {
  const g = new Graph('align')
  const d = a.hiddenSize
  const rows = g.op('Concat', [g.input('x', 'float32', ['n', d]), g.input('y', 'float32', ['n', d])], { axis: 0 })
  const [x, y] = g.ops('Split', [norm(g, a, rows)], 2, { axis: 0, num_outputs: 2 })
  const add = (sum: string, right: string, out: string) =>
    g.output(out, g.op('Gemm', [x, right, g.input(sum, 'float32', [d, d])], { transA: 1 }), 'float32', [d, d])
  add('gram', x, 'newGram')
  add('cross', g.op('Sub', [y, x]), 'newCross')
  return g
}
