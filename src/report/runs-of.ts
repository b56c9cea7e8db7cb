// What a report says of one run of `prune`: the model as it was, and as it has become.
import type { Continuation, Perplexities } from '../result/measured.ts'
import type { PruneResult } from '../result/result.ts'
import { type PrunedRun, type Run, runName } from './result-file.ts'

/** Of the dense model and the pruned one. */
export interface AroundRun extends Pick<PrunedRun, 'exports' | 'peakMemoryBytes'> {
  readonly samples: Readonly<Record<'dense' | 'pruned', readonly Continuation[] | undefined>>
  /** Tokens a second (evaluate/prefill.ts). */
  readonly speeds: readonly number[]
  readonly perplexities: Perplexities
  /** All notices that the user was given. */
  readonly told: readonly string[]
}

export function runsOf(
  { seconds: all, ...result }: PruneResult,
  { samples, speeds, perplexities, told, ...more }: AroundRun,
): { readonly dense: Run; readonly pruned: PrunedRun } {
  const { 'evaluate dense': denseSeconds = 0, ...rest } = all
  const { 'evaluate pruned': _, ...seconds } = rest
  return {
    dense: {
      ...{ name: 'dense', sparsity: 0, samples: samples.dense ?? [], tasks: [], tokensPerSecond: speeds[0] },
      ...{ perplexity: perplexities.dense ?? [], seconds: { 'evaluate dense': denseSeconds } },
    },
    pruned: {
      ...{ name: runName(result), sparsity: result.options.sparsity, samples: samples.pruned ?? [], tasks: [] },
      ...{ prune: { ...result, seconds }, perplexity: perplexities.pruned ?? [], seconds: rest },
      notices: told.filter(message => !result.notices.includes(message)),
      tokensPerSecond: speeds[1],
      healed: result.healed?.tokens,
      ...more,
    },
  }
}
