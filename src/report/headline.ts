// What is said first of pruned models: how much smaller and faster one is, and what that cost, in a sentence and in the
// figures of a page; of a comparison what lost least at each size.
import { total } from '../base/clock.ts'
import { bytes, count, cut, duration, percent, perplexityChange } from '../base/display.ts'
import { healedText } from '../checkpoint/pruning-record.ts'
import { comparedBy } from '../result/measured.ts'
import { heldOutCost } from '../result/notices.ts'
import { decimal, labels, textLabel, textName } from './labels.ts'
import { isDense, type PrunedRun, prunedRuns, type ResultFile, type Run } from './result-file.ts'
import { removedPart } from './tables.ts'

export interface Tile {
  readonly name: string
  readonly value: string
  readonly more: string
}

interface Change {
  readonly before: number
  readonly after: number
}

const arrow = ({ before, after }: Change, show: (n: number) => string) => `${show(before)} → ${show(after)}`

/** What pruning did to the perplexity: on windows that were held out, and on each text that both were measured on. */
function lossesOf(dense: Run | undefined, { perplexity, prune: { calibration, vocabulary, healed } }: PrunedRun) {
  const cost = healed ? undefined : heldOutCost(calibration.texts) // that is of the model before it was healed
  const on = calibration.source === 'self' ? 'held-out text of its own' : 'held-out text'
  const by = vocabulary ? ', by this vocabulary' : ''
  const held = cost === undefined ? [] : [{ nats: cost, of: 'perplexity', on: `${on}${by}`, values: '' }]
  const { of, figure } = comparedBy(vocabulary)
  const measured = perplexity.flatMap((pruned, i) => {
    const [before, after] = [dense?.perplexity[i]?.[figure], pruned[figure]]
    if (before === undefined || after === undefined) return []
    const values = arrow({ before, after }, n => decimal(n, figure === 'perplexity' ? 2 : 3))
    return [{ nats: Math.log(after / before), of, on: textName(pruned.file, { perplexity }), values }]
  })
  return [...held, ...measured].map(({ nats, ...loss }) => ({ change: perplexityChange(nats), ...loss }))
}

/** Of a pruned model beside the dense one, whose speed on prompts `prefillSpeeds` may not have measured. */
function factsOf(dense: Run | undefined, run: PrunedRun) {
  const { weightBytes, parameters } = run.prune.sizes
  const [before, after] = [dense?.tokensPerSecond, run.tokensPerSecond]
  const speed = before && after ? { before, after } : undefined
  return {
    ...{
      weightBytes,
      parameters: { before: parameters.before, after: parameters.effective },
      losses: lossesOf(dense, run),
    },
    speed: speed && { times: speed.after / speed.before, text: `${arrow(speed, n => `${Math.round(n)}`)} tokens/s` },
  }
}

/** `98.4 MB → 84.9 MB, 134.5 M → 113.0 M parameters, …`, in one sentence. */
export function headline(dense: Run | undefined, run: PrunedRun): string {
  const { vocabulary, healed } = run.prune
  const { weightBytes, parameters, speed, losses } = factsOf(dense, run)
  const kl = healed && arrow(healed.kl, n => decimal(n, 3))
  return [
    arrow(weightBytes, bytes),
    `${arrow(parameters, count)} parameters`,
    vocabulary && `vocabulary of ${arrow(vocabulary.tokens, count)}`,
    speed && `a prompt at ${speed.text} here`,
    healed && `healed on ${healed.tokens.toLocaleString('en')} tokens (KL to the dense model ${kl})`,
    ...losses.map(({ change, of, on, values }) => `${change} ${of} on ${on}${values && ` (${values})`}`),
    losses.length > 0 || healed ? undefined : 'loss not measured, as nothing was held out',
  ]
    .filter(Boolean)
    .join(', ')
}

export function tilesOf(result: ResultFile): Tile[] {
  const dense = result.runs.find(isDense)
  const pruned = prunedRuns(result)
  return pruned.length > 1 ? winners(dense, pruned) : pruned.flatMap(run => figures(dense, run))
}

function figures(dense: Run | undefined, run: PrunedRun): Tile[] {
  const { weightBytes, parameters, speed, losses } = factsOf(dense, run)
  const less = (of: Change) => (of.after > of.before ? cut(of) : `−${cut(of)}`)
  const [distance] = run.divergence ?? []
  const tile = (name: string, value: string, more = ''): Tile => ({ name, value, more })
  return [
    tile('File size', less(weightBytes), arrow(weightBytes, bytes)),
    tile('Parameters', less(parameters), arrow(parameters, count)),
    ...losses.map(({ change, of, on, values }) =>
      tile(`${of[0].toUpperCase()}${of.slice(1)} on ${on}`, change, values),
    ),
    ...(distance
      ? [tile('Same next token as dense', percent(distance.topAgreement), `KL ${decimal(distance.kl, 4)}`)]
      : []),
    ...(speed ? [tile('Speed of a prompt', `${speed.times.toFixed(2)} ×`, `${speed.text} where it was pruned`)] : []),
    tile('Time to prune', duration(total(run.prune.seconds))),
  ]
}

/** A difference of parts cut that a comparison has to tell. */
const UNEVEN = 0.01

/** At each sparsity the method with the least perplexity on the text that most runs were measured on. */
function winners(dense: Run | undefined, pruned: readonly PrunedRun[]): Tile[] {
  const valueOn = (run: Run, text: string) => run.perplexity.find(one => textLabel(one, run) === text)?.perplexity
  const texts = labels(pruned, run => run.perplexity, textLabel).map(text => {
    const measured = pruned.map(run => ({ ...run, value: valueOn(run, text) ?? Number.NaN }))
    return { text, measured: measured.filter(({ value }) => Number.isFinite(value)) }
  })
  const [most] = texts.sort((a, b) => b.measured.length - a.measured.length)
  if (!most) return []
  const { text, measured } = most
  const before = dense && valueOn(dense, text)
  const nameOf = (run: Run) => `${run.name}${healedText(run)}`
  return [...new Set(measured.map(run => run.sparsity))]
    .sort((a, b) => a - b)
    .map(sparsity => {
      const ranked = measured.filter(run => run.sparsity === sparsity).sort((a, b) => a.value - b.value)
      const [first, next] = ranked
      const parts = next ? [first, next].map(removedPart) : []
      const more = [
        before ? `${perplexityChange(Math.log(first.value / before))} perplexity on ${text}` : text,
        next && `next ${nameOf(next)}: ${decimal(next.value)}`,
        next && Math.abs(parts[0] - parts[1]) > UNEVEN && `${percent(parts[0])} and ${percent(parts[1])} are cut`,
      ]
      return {
        name: `Least loss at ${percent(sparsity).replace('.0', '')}`,
        value: `${nameOf(first)}: ${decimal(first.value)}`,
        more: more.filter(Boolean).join('; '),
      }
    })
}
