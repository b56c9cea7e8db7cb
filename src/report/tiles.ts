// The figures that a page shows first: of one pruned model what it is and what it lost, of a comparison what lost least at each size.

import { total } from '../base/clock.ts'
import { bytes, count, cut, duration, percent, perplexityChange } from '../base/display.ts'
import { healedText } from '../checkpoint/pruning-record.ts'
import { lossesOf, speedText } from './headline.ts'
import { decimal, labels, textLabel } from './labels.ts'
import { isDense, type PrunedRun, prunedRuns, type ResultFile, type Run } from './result-file.ts'
import { removedPart } from './tables.ts'

export interface Tile {
  readonly name: string
  readonly value: string
  readonly more: string
}

export function tilesOf(result: ResultFile): Tile[] {
  const dense = result.runs.find(isDense)
  const pruned = prunedRuns(result)
  return pruned.length > 1 ? winners(dense, pruned) : pruned.flatMap(run => figures(dense, run))
}

function figures(dense: Run | undefined, run: PrunedRun): Tile[] {
  const { sizes, seconds } = run.prune
  const { parameters, weightBytes } = sizes
  const change = (of: { readonly before: number; readonly after: number }) =>
    of.after > of.before ? cut(of) : `−${cut(of)}`
  const speed = speedText(dense, run)
  const [kl] = run.divergence ?? []
  return [
    {
      name: 'File size',
      value: change(weightBytes),
      more: `${bytes(weightBytes.before)} → ${bytes(weightBytes.after)}`,
    },
    {
      name: 'Parameters',
      value: change({ ...parameters, after: parameters.effective }),
      more: `${count(parameters.before)} → ${count(parameters.effective)}`,
    },
    ...lossesOf(dense, run).map(({ change, of, on, values = '' }) => ({
      name: `${of[0].toUpperCase()}${of.slice(1)} on ${on}`,
      value: change,
      more: values,
    })),
    ...(kl
      ? [{ name: 'Same next token as dense', value: percent(kl.topAgreement), more: `KL ${decimal(kl.kl, 4)}` }]
      : []),
    ...(speed
      ? [
          {
            name: 'Speed of a prompt',
            value: `${(run.tokensPerSecond! / dense!.tokensPerSecond!).toFixed(2)} ×`,
            more: `${speed} where it was pruned`,
          },
        ]
      : []),
    { name: 'Time to prune', value: duration(total(seconds)), more: '' },
  ]
}

/** A difference of parts cut that a comparison has to tell. */
const UNEVEN = 0.01

/** At each sparsity the method with the least perplexity on the text that most runs were measured on. */
function winners(dense: Run | undefined, pruned: readonly PrunedRun[]): Tile[] {
  const on = (text: string) =>
    pruned.flatMap(run => {
      const found = run.perplexity.find(one => textLabel(one, run) === text)
      return found && Number.isFinite(found.perplexity) ? [{ ...run, value: found.perplexity }] : []
    })
  const texts = labels(pruned, run => run.perplexity, textLabel).map(text => ({ text, measured: on(text) }))
  const [most] = texts.sort((a, b) => b.measured.length - a.measured.length)
  if (!most) return []
  const { text, measured } = most
  const before = dense?.perplexity.find(one => textLabel(one, dense) === text)?.perplexity
  return [...new Set(measured.map(run => run.sparsity))]
    .sort((a, b) => a - b)
    .map(sparsity => {
      const ranked = measured.filter(run => run.sparsity === sparsity).sort((a, b) => a.value - b.value)
      const [first, next] = ranked
      const { value } = first
      const nameOf = (run: Run) => `${run.name}${healedText(run)}`
      const name = nameOf(first)
      const parts = next ? [first, next].map(removedPart) : []
      const uneven = next && Math.abs(parts[0] - parts[1]) > UNEVEN
      const change = before ? `${perplexityChange(Math.log(value / before))} perplexity on ${text}` : text
      return {
        name: `Least loss at ${percent(sparsity).replace('.0', '')}`,
        value: `${name}: ${decimal(value)}`,
        more: [
          change,
          next && `next ${nameOf(next)}: ${decimal(next.value)}`,
          uneven && `${percent(parts[0])} and ${percent(parts[1])} are cut`,
        ]
          .filter(Boolean)
          .join('; '),
      }
    })
}
