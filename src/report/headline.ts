// What is said first of a pruned model, in words: how much smaller and faster it is, and what that cost.
import { bytes, count, perplexityChange } from '../base/display.ts'
import { comparedBy } from '../result/measured.ts'
import { heldOutCost } from '../result/notices.ts'
import { decimal, textName } from './labels.ts'
import type { PrunedRun, Run } from './result-file.ts'

/** What pruning did to the perplexity: on windows that were held out, and on each text that both models were measured on. */
export function lossesOf(dense: Run | undefined, run: PrunedRun) {
  const { texts, source } = run.prune.calibration
  const cost = heldOutCost(texts)
  const on = source === 'self' ? 'held-out text of its own' : 'held-out text'
  const by = run.prune.vocabulary ? ', by this vocabulary' : ''
  const { healed } = run.prune
  const held =
    healed || cost === undefined // that is of the model before it was healed
      ? []
      : [{ change: perplexityChange(cost), of: 'perplexity', on: `${on}${by}`, values: undefined }]
  const { of, figure } = comparedBy(run.prune.vocabulary)
  const digits = figure === 'perplexity' ? 2 : 3
  const measured = run.perplexity.flatMap((pruned, i) => {
    const [before, after] = [dense?.perplexity[i]?.[figure], pruned[figure]]
    if (before === undefined || after === undefined) return []
    const change = perplexityChange(Math.log(after / before))
    const values = `${decimal(before, digits)} → ${decimal(after, digits)}`
    return [{ change, of, on: textName(pruned.file, run), values }]
  })
  return [...held, ...measured]
}

/** Of prompts, by `prefillSpeeds`: tokens a second of both; undefined where they were not measured. */
export const speedText = (dense: Run | undefined, run: Run): string | undefined =>
  dense?.tokensPerSecond && run.tokensPerSecond
    ? `${Math.round(dense.tokensPerSecond)} → ${Math.round(run.tokensPerSecond)} tokens/s`
    : undefined

/** `98.4 MB → 84.9 MB, 134.5 M → 113.0 M parameters, …`, in one sentence. */
export function headline(dense: Run | undefined, run: PrunedRun): string {
  const { sizes, vocabulary } = run.prune
  const { parameters, weightBytes } = sizes
  const speed = speedText(dense, run)
  const { healed } = run.prune
  const healing = healed
    ? [
        `healed on ${healed.tokens.toLocaleString('en')} tokens (KL to the dense model ${decimal(healed.kl.before, 3)} → ${decimal(healed.kl.after, 3)})`,
      ]
    : []
  const losses = lossesOf(dense, run).map(
    ({ change, of, on, values }) => `${change} ${of} on ${on}${values ? ` (${values})` : ''}`,
  )
  return [
    `${bytes(weightBytes.before)} → ${bytes(weightBytes.after)}`,
    `${count(parameters.before)} → ${count(parameters.effective)} parameters`,
    ...(vocabulary ? [`vocabulary of ${count(vocabulary.tokens.before)} → ${count(vocabulary.tokens.after)}`] : []),
    ...(speed ? [`a prompt at ${speed} here`] : []),
    ...healing,
    ...(losses.length + healing.length > 0 ? losses : ['loss not measured, as nothing was held out']),
  ].join(', ')
}
