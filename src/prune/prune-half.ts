// One half-block on its way: hidden activations → statistics → cut → write, and the streams go through it.
import type { Clock } from '../base/clock.ts'
import type { Progress } from '../base/events.ts'
import type { FloatDType } from '../formats/dtype.ts'
import { type Rounded, rounded } from '../formats/encode.ts'
import type { Floats } from '../formats/tensors.ts'
import type { Context } from '../forward/context.ts'
import type { Twins } from '../forward/stream-pair.ts'
import type { HalfWeights } from '../forward/weights.ts'
import { cut } from '../method/cut.ts'
import type { Own } from '../method/method.ts'
import { alignInputs } from '../method/restore/align.ts'
import { keepAll, selectKept } from '../method/select/selection.ts'
import type { DenseStatistics } from '../method/statistics/dense.ts'
import { observe } from '../method/statistics/observe.ts'
import { narrows } from '../model/half-block.ts'
import type { Model } from '../model/model.ts'
import type { ResolvedOptions } from '../options/options.ts'
import type { Plan } from '../options/plan.ts'
import { ALONE } from '../ranks/group.ts'
import type { HalfResult } from '../result/result.ts'
import type { ModelWriter } from '../write/model.ts'
import type { HeldOutCheck } from './held-out.ts'

/** What `outsideSeconds` of the result goes by. */
export type Stage =
  | 'calibration'
  | 'allocation'
  | 'embedding'
  | 'reading'
  | 'statistics'
  | 'selection'
  | 'repair'
  | 'writing'
  | 'losses'

export interface PruneJob extends Context {
  readonly model: Model
  readonly plan: Plan
  readonly dense?: DenseStatistics
  readonly options: ResolvedOptions & { readonly own: Own }
  readonly writer: ModelWriter
  /** `typesOf` the plan. */
  readonly typeOf: (name: string) => FloatDType
  readonly stages: Clock<Stage>
}

/** What goes through the layers together. The dense stream of the calibration is there with a dense target only. */
export interface Streams {
  readonly calibration: Twins
  readonly check?: HeldOutCheck
}

/**
 * Prunes a half-block, writes it, and takes the streams through it. With a dense target one that keeps all is repaired,
 * too: it makes up for a part of what was cut before. Undefined where nothing changes. @param original its weights
 */
export async function* pruneHalf(
  job: PruneJob,
  { calibration, check }: Streams,
  original: HalfWeights,
): Progress<HalfResult | undefined> {
  const { half } = original
  const { engine, plan, options, writer, stages, group = ALONE } = job
  stages.start('statistics')
  const stream = calibration.pruned
  const dense = calibration.dense && { stream: calibration.dense, alpha: options.alpha }
  const keep = plan.widths.after[plan.layers.after.indexOf(half.layer)]
  const cuts = narrows(half, keep)
  if (!cuts && !dense) {
    // Where only whole layers go, nothing is measured on the stream.
    if (options.scope !== 'layers') await stream.through(original)
    stages.start('losses')
    await check?.pass(original)
    stages.start('writing')
    await writer.copyHalf(half)
    return undefined
  }
  // Before the first cut both streams are one, and there is nothing to make up for.
  if (!dense && options.target === 'dense' && options.alpha > 0) await calibration.throughDense(original)
  const round = (name: string, values: Floats) => rounded(name, values, job.typeOf(name))
  const aligned = dense && options.inputs === 'aligned'
  const turned = aligned ? await alignInputs(stream, original, dense, options.damp) : undefined
  const weights = turned ? withInputs(turned.weights, round) : original
  const { statistics, hidden } = await observe(stream, weights, dense && { ...dense, weights: original })
  stages.start('selection')
  const ofDense = job.dense?.layers[half.layer][half.kind]
  const seen = { weights, statistics, dense: ofDense }
  const cutting = () =>
    cut(engine, seen, {
      rotate: cuts && options.vo === 'rotate',
      async select(seen) {
        const selected = cuts ? await selectKept(engine, seen, keep, options) : keepAll(half)
        stages.start('repair')
        return selected
      },
      restore: { ...options, means: ofDense?.mean },
      round({ weight, bias }) {
        const w = round(`${half.output.name}.weight`, weight)
        const b = bias && round(`${half.output.name}.bias`, bias)
        return { weight: w.values, bias: b?.values, bytes: { weight: w.bytes, bias: b?.bytes } }
      },
    })
  const decided = await group.decide(cutting, ({ weights: _, statistics: __, ...part }) => part)
  const { selected, pruned, output, ...done } = { ...seen, ...decided }
  const { kept, columns } = writer.stored(half, selected)
  if (selected.scores) yield { type: 'selected', half: half.output.name, scores: selected.scores, kept }
  stages.start('writing')
  await writer.writeOutput(half, columns, output.bytes, done.statistics)
  const advancing = stream.advance(weights, pruned, hidden)
  advancing.catch(() => {}) // thrown where it is waited for
  try {
    await writer.writeInputs(done.weights, kept, columns, turned?.gram) // the engine works meanwhile
  } finally {
    await advancing // nothing may run on when this ends with an error
  }
  stages.start('losses')
  const heldOutError = await check?.pass(original, { weights, pruned, alpha: dense?.alpha ?? 0 })
  const { errorBefore, errorAfter } = done
  const damp = Math.max(done.damp, selected.damp, turned?.damp ?? 0)
  return { kept: [...kept], errorBefore, errorAfter, heldOutError, damp }
}

/** Input layers as a reader of the output will see them. */
function withInputs(weights: HalfWeights, round: (name: string, values: Floats) => Rounded): HalfWeights {
  const inputs = weights.inputs.map(({ weight, bias }, i) => {
    const name = `${weights.half.inputs[i].name}.weight`
    return { weight: round(name, weight).values, bias }
  })
  return { ...weights, inputs }
}
