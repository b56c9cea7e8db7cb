// What a run leaves of itself: the part of its result that is the same whenever it is run again.
import { baseName, shortNames } from '../base/display.ts'
import { VERSION } from '../base/version.ts'
import type { Allocated } from '../method/allocate/allocate.ts'
import type { ResolvedOptions } from '../options/options.ts'
import type { Plan } from '../options/plan.ts'
import type { LayerResult, Recipe, TextLoss } from '../result/result.ts'
import type { Windows } from '../text/windows.ts'
import type { PreparedRun } from './run.ts'

/** The calibration texts, with what pruning cost on them. */
export function textResults({ texts }: Windows, losses?: readonly (TextLoss | undefined)[]) {
  const names = shortNames(texts.map(({ name }) => name))
  return texts.map((text, i) => ({ ...text, name: names[i], loss: losses?.[i] }))
}

/** What has become of a run. */
export interface Outcome {
  readonly plan: Plan
  /** On as many tokens as there were. */
  readonly options: ResolvedOptions
  readonly allocated: Allocated
  readonly windows: Windows
  readonly layers: readonly LayerResult[]
  readonly texts: ReturnType<typeof textResults>
  readonly notices: readonly string[]
}

export function recipeOf({ model, source, trials }: PreparedRun, outcome: Outcome): Recipe {
  const { name, format, card, vocabulary } = model.checkpoint
  const { plan, options, allocated, windows, layers, texts, notices } = outcome
  return {
    schema: 1,
    fasp: VERSION,
    source: { name: baseName(name), hubId: card?.hubId, format, modelType: model.architecture.modelType },
    vocabulary,
    options,
    widths: plan.widths,
    trials,
    allocation: allocated.allocation,
    removedLayers: allocated.removed,
    sizes: plan.sizes,
    calibration: { source, seqLen: windows.seqLen, texts },
    layers,
    notices,
  }
}
