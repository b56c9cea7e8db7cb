// What `fasp eval` measured, as tables for a terminal of 80 columns. Pure functions of the result.

import { percent, table } from '../base/display.ts'
import { healedTokens } from '../checkpoint/pruning-record.ts'
import type { Measures } from '../evaluate/measure.ts'
import type { Estimate, TaskResult, WordPerplexityResult } from '../result/result.ts'
import { withError } from './tables.ts'
import { fitted, PLAIN, perplexityText, textCell } from './terminal.ts'

/** Everything that was measured, tables one below the other. */
export function measuresText(measures: Measures): string {
  const { perplexity, tasks, wordPerplexity } = measures
  return [
    ...(perplexity.length > 0 ? [textsTable(measures)] : []),
    ...(tasks.length > 0 ? [tasksTable(tasks)] : []),
    ...(wordPerplexity ? [wordsLine(wordPerplexity)] : []),
  ].join('\n\n')
}

function textsTable({ perplexity, divergence, dense, ...of }: Measures): string {
  const healed = healedTokens(of)
  const rows = perplexity.map((one, i) => [
    textCell(one, perplexity),
    ...(healed ? [healed] : []),
    ...(dense ? [perplexityText(dense[i])] : []),
    perplexityText(one),
    one.bitsPerByte?.toFixed(4) ?? '',
    ...(divergence ? [divergence[i].kl.toFixed(4), percent(divergence[i].topAgreement)] : []),
  ])
  const head = [
    'text',
    ...(healed ? ['healed'] : []),
    ...(dense ? ['dense'] : []),
    'perplexity',
    'bits/byte',
    ...(divergence ? ['KL', 'same token'] : []),
  ]
  return fitted([head, ...rows], PLAIN.columns)
}

/** Accuracies in percent ± their standard errors. */
function tasksTable(tasks: readonly TaskResult[]): string {
  const cell = (estimate: Estimate | undefined) =>
    estimate ? withError(100 * estimate.value, 100 * estimate.standardError, 1) : ''
  return table([
    ['task', 'version', 'items', 'acc %', 'acc_norm %'],
    ...tasks.map(({ task, version, items, accuracy, accuracyNorm }) => [
      task,
      version,
      String(items),
      cell(accuracy),
      cell(accuracyNorm),
    ]),
  ])
}

const wordsLine = (r: WordPerplexityResult): string =>
  `${r.task} ${r.version}, ${r.documents} documents, windows of ${r.seqLen}:\nword perplexity ${r.wordPerplexity.toFixed(3)}, byte perplexity ${r.bytePerplexity.toFixed(4)}, bits per byte ${r.bitsPerByte.toFixed(4)}`
