// Statistics of the dense model's activations, from one pass over the calibration windows, which methods share (FLAP,
// ShortGPT):
//   of each half-block's H: mean μ_j and variance F_j = Σ_t (h_tj − μ_j)² / (N − 1);
//   of each layer: block influence 1 − E_t[cos(x_t, y_t)] between the streams x before and y after it.
import type { Progress } from '../../base/events.ts'
import { copied, cosines, drop } from '../../engine/linalg/rows.ts'
import type { Context } from '../../forward/context.ts'
import { HalfBlockRunner, wholeOutput } from '../../forward/runner.ts'
import { embedWindows } from '../../forward/stream.ts'
import { readHalf } from '../../forward/weights.ts'
import { halfBlocks, layersOf } from '../../model/architecture.ts'
import { hiddenWidth } from '../../model/half-block.ts'
import type { Model } from '../../model/model.ts'
import { ALONE } from '../../ranks/group.ts'
import type { Windows } from '../../text/windows.ts'
import { MomentAccumulator, type Moments } from './moments.ts'

export interface DenseStatistics {
  readonly layers: readonly {
    readonly attention: Moments
    readonly ffn: Moments
    readonly influence: number
  }[]
}

export async function* denseStatistics(
  context: Context,
  model: Model,
  { windows, seqLen }: Windows,
): Progress<DenseStatistics> {
  const { engine, group = ALONE } = context
  const a = model.architecture
  const count = layersOf(a)
  yield { type: 'phase', phase: 'allocate', total: count, unit: 'layers' }
  const runner = new HalfBlockRunner(engine, seqLen, 'float32')
  const stream = await embedWindows(context, model, runner, windows)
  const layers = []
  for (let layer = 0; layer < count; layer++) {
    const [attention, ffn] = halfBlocks(a, layer)
    const halves = [await readHalf(model, attention), await readHalf(model, ffn)]
    const moments = halves.map(weights => new MomentAccumulator(engine, hiddenWidth(weights.half)))
    let sum = 0
    await stream.change(async (x, { windows, tokens }) => {
      const before = await copied(engine, x)
      for (const [i, weights] of halves.entries()) {
        if (weights.experts) {
          await runner.mix(weights, [x]) // no method asks for moments of single experts
          continue
        }
        const h = engine.array([moments[i].width, tokens])
        await runner.hidden(weights, weights.half.parallel ? before : x, windows, h)
        await moments[i].add({ h, tokens })
        await runner.residual(weights, wholeOutput(weights), x, h)
        drop(h)
      }
      sum += (await cosines(engine, before, x)).reduce((sum, cosine) => sum + cosine, 0)
      drop(before)
    })
    const [m, n] = [await moments[0].finish(group), await moments[1].finish(group)]
    const sums = Float64Array.of(sum, stream.tokens)
    await group.sum(sums)
    layers.push({ attention: m, ffn: n, influence: 1 - sums[0] / sums[1] })
    yield { type: 'progress', done: layer + 1, tokens: stream.tokens }
  }
  await stream.close()
  return { layers }
}
