// How much goes where, by the rule of the options: from sizes alone, or measured on the dense model before any layer is
// cut.
import type { Progress } from '../../base/events.ts'
import type { Context } from '../../forward/context.ts'
import type { Widths } from '../../model/half-block.ts'
import type { Model } from '../../model/model.ts'
import { UNSAVED } from '../../output/steps.ts'
import type { Windows } from '../../text/windows.ts'
import { layersToRemove, leastInfluential, type RemovedLayer } from '../baselines/influence.ts'
import { leastMissed } from '../baselines/perplexity.ts'
import { standardizedWidths } from '../baselines/standardized.ts'
import { sharedOut } from '../least-sparsity.ts'
import { type DenseStatistics, denseStatistics } from '../statistics/dense.ts'
import { type Allocate, ownWidths } from './custom.ts'
import { type Allocation, allocateBySensitivity, type SensitivityOptions } from './sensitivity.ts'

export interface Allocated {
  /** Of each layer that stays. @default the same for all layers */
  readonly widths?: readonly Widths[]
  readonly allocation?: Allocation
  /** Whole layers that go. */
  readonly removed?: readonly RemovedLayer[]
  /** For scores and repairs, too. */
  readonly dense?: DenseStatistics
}

export interface AllocateOptions extends SensitivityOptions {
  readonly allocate: 'uniform' | 'sensitivity' | 'standardized' | 'influence' | 'perplexity' | 'custom'
  /** The function of `custom`. */
  readonly own?: { readonly allocate?: Allocate }
  readonly layout: string
}

/** @param given statistics of the dense model on these windows, if the caller has them */
export async function* allocate(
  context: Context,
  model: Model,
  windows: Windows,
  options: AllocateOptions,
  given?: DenseStatistics,
): Progress<Allocated> {
  const statistics = async function* () {
    const make = () => denseStatistics(context, model, windows)
    return given ?? (yield* (options.saved ?? UNSAVED).step('dense statistics', make))
  }
  switch (options.allocate) {
    case 'uniform':
      return {}
    case 'custom': {
      const widths = await ownWidths(options.own!.allocate!, model.architecture, options)
      return { widths: sharedOut(() => widths, options.sparsity, options.fits) }
    }
    case 'sensitivity':
      return yield* allocateBySensitivity(context, model, windows, options)
    case 'standardized': {
      const dense = yield* statistics()
      return { dense, widths: await standardizedWidths(model, dense, options) }
    }
    case 'influence': {
      const influences = (yield* statistics()).layers.map(({ influence }) => influence)
      return { removed: leastInfluential(influences, layersToRemove(model.architecture, options.sparsity)) }
    }
    case 'perplexity': {
      const { probeTokens } = options
      const count = layersToRemove(model.architecture, options.sparsity)
      return { removed: yield* leastMissed(context, model, windows, { count, probeTokens }) }
    }
  }
}
