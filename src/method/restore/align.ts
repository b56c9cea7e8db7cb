// Turns the input of a half-block's input layers towards the dense model's. X and Y [tokens, d] are rows of the pruned
// and of the dense stream, after the norm. The linear map that takes X closest to Y,
//   Z = argmin ‖Y − X (I + Z)‖² + δ‖Z‖²,  that is (XᵀX + δI) Z = Xᵀ(Y − X),
// goes into the input layers, α of the way: W' = W (I + αZ)ᵀ. Shapes stay, so that it costs nothing later. Ours; GPTAQ
// (arXiv 2504.02692) quantises layers towards the outputs of the unquantised model in the same spirit.
import { matrix } from '../../engine/linalg/matrix.ts'
import { transposed } from '../../engine/linalg/scatter.ts'
import type { Floats } from '../../formats/tensors.ts'
import type { DenseTarget, Stream } from '../../forward/stream.ts'
import type { HalfWeights } from '../../forward/weights.ts'
import { ALONE } from '../../ranks/group.ts'
import { allColumns } from '../select/top.ts'
import { AlignmentAccumulator } from '../statistics/alignment.ts'
import { factorDamped } from '../statistics/system.ts'

/**
 * @param stream the pruned one before the half-block; the dense target is at the same place
 * @returns the half-block with new input layers, XᵀX, and the `damp` of the factorisation
 */
export async function alignInputs(
  stream: Stream,
  weights: HalfWeights,
  dense: DenseTarget,
  damp: number,
): Promise<{ readonly weights: HalfWeights; readonly gram: Floats; readonly damp: number }> {
  const { engine, group = ALONE } = stream.context
  const { half, norms } = weights
  const d = stream.rows.width
  const sums = new AlignmentAccumulator(engine, d, half.norms.before, norms.before)
  await stream.read(async (x, batch) => {
    const y = await dense.stream.rows.at(batch)
    const [own, theirs] = [await stream.readBy(weights, x, batch), await dense.stream.readBy(weights, y, batch)]
    await sums.add({ x: own, y: theirs })
  })
  const { gram, cross } = await sums.finish(group)
  const turned = await group.decide(async () => {
    const statistics = { width: d, tokens: stream.tokens, gram, mean: new Float64Array(d) }
    const options = { damp, layer: half.inputs[0].name }
    const system = await factorDamped(engine.linalg.factor, statistics, undefined, allColumns(d), options)
    if (!system) return { inputs: weights.inputs, damp }
    const z = matrix(d, d, Float64Array.from(cross))
    await system.factor.solve(z)
    system.factor.drop?.()
    const turn = Float32Array.from(transposed(z.data, d), v => dense.alpha * v) // αZᵀ
    const inputs = []
    for (const { weight, bias } of weights.inputs) {
      const change = await engine.linalg.multiply(weight, turn, d)
      inputs.push({ weight: weight.map((w, i) => w + change[i]), bias })
    }
    return { inputs, damp: system.damp }
  })
  return { weights: { ...weights, inputs: turned.inputs }, gram, damp: turned.damp }
}
