// What is said first of a pruned model, in words: how much smaller and faster it is, and what that cost.
import { bytes, count, perplexityChange } from '../display.ts'
import { heldOutCost } from '../notices.ts'
import type { PruneResult } from '../result.ts'
import type { PrunedRun, Run } from './result-file.ts'
import { decimal, textName } from './tables.ts'

/** What pruning cost on windows that were held out. */
export function heldOutLoss({ calibration }: Pick<PruneResult, 'calibration'>): string | undefined {
  const cost = heldOutCost(calibration.texts)
  const text = calibration.source === 'self' ? 'held-out text of its own' : 'held-out text'
  return cost === undefined ? undefined : `${perplexityChange(cost)} perplexity on ${text}`
}

/** Texts that both models were measured on. */
export const textLosses = (dense: Run | undefined, run: Run) =>
  run.perplexity.flatMap((pruned, i) => {
    const before = dense?.perplexity[i]?.perplexity
    if (before === undefined) return []
    const change = perplexityChange(Math.log(pruned.perplexity / before))
    return [{ name: textName(pruned.file, run), change, values: `${decimal(before)} → ${decimal(pruned.perplexity)}` }]
  })

/** `98.4 MB → 84.9 MB, 134.5 M → 113.0 M parameters, …`, in one sentence. */
export function headline(dense: Run | undefined, run: PrunedRun): string {
  const { parameters, weightBytes } = run.prune.sizes
  const texts = textLosses(dense, run).map(({ name, change, values }) => `${change} perplexity on ${name} (${values})`)
  const held = heldOutLoss(run.prune)
  const losses = held || texts.length > 0 ? [held, ...texts] : ['loss not measured, as nothing was held out']
  return [
    `${bytes(weightBytes.before)} → ${bytes(weightBytes.after)}`,
    `${count(parameters.before)} → ${count(parameters.effective)} parameters`,
    dense?.tokensPerSecond && run.tokensPerSecond && `${speedText(dense, run)} here`,
    ...losses,
  ]
    .filter(part => part !== undefined)
    .join(', ')
}

/** Of prompts, by `prefillSpeeds`. */
export const speedText = (...runs: readonly Run[]): string =>
  `${runs.map(run => Math.round(run.tokensPerSecond!)).join(' → ')} prompt tokens/s`
