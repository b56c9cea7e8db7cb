// From a result to the charts that it has something for. `fasp report -o x.svg --chart NAME` writes one of them.

import { count, duration, percent } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import { healedText } from '../checkpoint/pruning-record.ts'
import type { Widths } from '../model/half-block.ts'
import { CHART_NAMES, type ChartName } from './chart-names.ts'
import { fitOf, layerNumbers, lossOf } from './layers.ts'
import {
  type Cell,
  curvePanels,
  heatMap,
  layerBars,
  lineChart,
  type Part,
  type Point,
  pictureFile,
  stackedBars,
} from './plot.ts'
import { healingOf, isDense, type PrunedRun, prunedRuns, type ResultFile, type Run } from './result-file.ts'
import { decimal, labels, meanAccuracy, removedPart, runLabel, textLabel, unhealedLabel } from './tables.ts'

export interface Chart {
  /** What the picture shows: heading in the page, label for those who do not see it. */
  readonly title: string
  /** How to read it. */
  readonly note: string
  readonly svg: string
}

const percentTick = (part: number) => `${Number((100 * part).toFixed(1))} %`

const CUT = {
  label: 'decoder linears removed',
  tickFormat: (part: number) => percent(part).replace('.0', ''),
  ticks: 6,
}

const PERPLEXITY = { type: 'log', label: 'perplexity', tickFormat: (n: number) => n.toLocaleString('en-US') } as const

/** Healed models have a line of their own. */
const seriesName = (run: Run): string => `${run.name}${healedText(run)}`

/** A series for each method: its runs by cut, the dense model at 0. Without a second cut there is no line to draw. */
function byMethod(runs: readonly Run[], value: (run: Run) => number | undefined, show: (value: number) => string) {
  const found = runs.flatMap(run => {
    const y = value(run)
    return y !== undefined && Number.isFinite(y) ? [{ run, y }] : []
  })
  const dense = found.find(({ run }) => isDense(run))
  const point = ({ run, y }: (typeof found)[number]): Point => ({
    x: removedPart(run),
    y,
    title: `${seriesName(run)}, ${percent(removedPart(run))} removed: ${show(y)}`,
  })
  const names = [...new Set(found.filter(({ run }) => !isDense(run)).map(({ run }) => seriesName(run)))]
  const series = names.map(name => {
    const own = found.filter(({ run }) => seriesName(run) === name && !isDense(run))
    return { name, points: [...(dense ? [dense] : []), ...own].map(point).sort((a, b) => a.x - b.x) }
  })
  return { series, reference: dense && { name: `dense ${show(dense.y)}`, y: dense.y } }
}

/** A model with so many times the dense perplexity is of no use; what lies beyond is in the table. */
const HOPELESS = 50

/** For each text: perplexity against size, on a logarithmic scale. */
export function perplexityCharts({ runs }: ResultFile): Chart[] {
  return labels(runs, run => run.perplexity, textLabel).flatMap(text => {
    const of = (run: Run) => run.perplexity.find(one => textLabel(one, run) === text)?.perplexity
    const { series, reference } = byMethod(runs, of, value => decimal(value))
    if (series.length === 0) return []
    const title = `Perplexity against size: ${text}`
    const limit = reference && HOPELESS * reference.y
    const note = `Lower is better. The scale of perplexity is logarithmic${limit ? `, up to ${HOPELESS} times that of the dense model` : ''}.`
    return [{ title, note, svg: lineChart({ title, x: CUT, y: PERPLEXITY, series, reference, limit }) }]
  })
}

/** A line for each label, from left to right. */
const byLabel = (points: readonly (Point & { readonly label: string })[]) =>
  [...new Set(points.map(({ label }) => label))].map(name => ({
    name,
    points: points.filter(({ label }) => label === name).sort((a, b) => a.x - b.x),
  }))

/** For each text: perplexity against the size of the calibration text, where runs differ in that; a line for each method and cut. */
function calibrationCharts({ runs }: ResultFile): Chart[] {
  const sized = runs.flatMap(run => {
    if (!run.prune) return []
    const { texts, seqLen } = run.prune.calibration
    return [{ run, label: runLabel(run), x: seqLen * texts.reduce((n, text) => n + text.used, 0) }]
  })
  const ticks = [...new Set(sized.map(({ x }) => x))]
  if (ticks.length < 2) return []
  return labels(runs, run => run.perplexity, textLabel).map(text => {
    const found = sized.flatMap(({ run, label, x }) => {
      const y = run.perplexity.find(one => textLabel(one, run) === text)?.perplexity ?? Number.NaN
      return Number.isFinite(y) ? [{ label, x, y, title: `${label}, ${count(x)} tokens: ${decimal(y)}` }] : []
    })
    const series = byLabel(found)
    const title = `Perplexity against calibration tokens: ${text}`
    const x = { type: 'log', label: 'calibration tokens', ticks, tickFormat: count } as const
    return {
      title,
      note: 'Lower is better. Both scales are logarithmic.',
      svg: lineChart({ title, x, y: PERPLEXITY, series }),
    }
  })
}

export function accuracyCharts({ runs }: ResultFile): Chart[] {
  const { series, reference } = byMethod(runs, meanAccuracy, value => percent(value))
  if (series.length === 0) return []
  const title = 'Mean zero-shot accuracy against size'
  const y = { type: 'linear', label: 'mean accuracy', tickFormat: percentTick, ticks: 6 } as const
  const note = 'Higher is better. Mean over the tasks, normalised accuracy where there is one.'
  return [{ title, note, svg: lineChart({ title, x: CUT, y, series, reference }) }]
}

/** What healing does: perplexity against its tokens, where runs differ in them, and KL to the dense model over the steps. */
export const healingCharts = (result: ResultFile): Chart[] => [
  ...healedTokensCharts(result),
  ...healingStepsCharts(result),
]

/** For each text: perplexity against the tokens that models were healed on; a line for each method and cut, from where it was not healed. */
function healedTokensCharts({ runs }: ResultFile): Chart[] {
  const healed = runs.filter(run => run.prune)
  const ticks = [...new Set(healed.map(run => run.healed ?? 0))]
  if (ticks.length < 3) return []
  return labels(runs, run => run.perplexity, textLabel).map(text => {
    const of = (run: Run) => run.perplexity.find(one => textLabel(one, run) === text)?.perplexity ?? Number.NaN
    const found = healed.flatMap(run => {
      const y = of(run)
      const title = `${runLabel(run)}: ${decimal(y)}`
      return Number.isFinite(y) ? [{ label: unhealedLabel(run), x: run.healed ?? 0, y, title }] : []
    })
    const series = byLabel(found)
    const title = `Perplexity against tokens of healing: ${text}`
    const x = { label: 'tokens of healing', ticks, tickFormat: count } as const
    const { reference } = byMethod(runs, of, value => decimal(value))
    return {
      title,
      note: 'Lower is better. The scale of perplexity is logarithmic.',
      svg: lineChart({ title, x, y: PERPLEXITY, series, reference }),
    }
  })
}

/** Steps that have room for their numbers below a chart. */
const MANY = 12

function healingStepsCharts({ runs }: Pick<ResultFile, 'runs'>): Chart[] {
  const names = runs.filter(run => run.healed).map(unhealedLabel)
  const isAlone = (name: string) => names.filter(other => other === name).length < 2
  const series = runs.flatMap(run => {
    const points = (healingOf(run)?.curve ?? []).filter(({ kl }) => Number.isFinite(kl))
    const point = ({ step, kl }: (typeof points)[number]): Point => ({
      ...{ x: step, y: kl },
      title: `${runLabel(run)}, step ${step}: ${decimal(kl, 4)}`,
    })
    const name = unhealedLabel(run)
    const called = isAlone(name) ? name : `${name}, ${count(run.healed!)} tokens`
    return points.length > 1 ? [{ name: called, points: points.map(point) }] : []
  })
  if (series.length === 0) return []
  const title = 'Healing: KL to the dense model over the steps'
  const y = { type: 'linear', label: 'KL, nats a token', ticks: 6 } as const
  const measured = [...new Set(series.flatMap(({ points }) => points.map(({ x }) => x)))]
  const ticks = measured.length > MANY ? MANY : measured
  const note = 'Lower is better. On held-out windows; the step with the least is kept.'
  return [{ title, note, svg: lineChart({ title, x: { label: 'step', ticks, tickFormat: String }, y, series }) }]
}

/** Half-blocks by what users call them. */
const HALVES = { attention: 'value channels', ffn: 'FFN' } as const

type Half = keyof typeof HALVES

/** Part of its width that each layer keeps. */
function widthBars({ prune }: PrunedRun) {
  const { before, after } = prune.widths
  const numbers = layerNumbers(prune)
  const panel = (of: keyof Widths, unit: string) => {
    const full = before[of] ?? 1 // a result may be without KV heads
    return [
      ...after.map((widths, i) => ({
        ...{ x: numbers[i], value: (widths[of] ?? full) / full, before: 1 },
        title: `layer ${numbers[i]}: ${widths[of] ?? full} of ${full} ${unit}`,
      })),
      ...(prune.removedLayers ?? []).map(({ layer }) => ({
        x: layer,
        value: 0,
        before: 1,
        title: `layer ${layer}: removed`,
      })),
    ]
  }
  const panels = {
    FFN: panel('ffn', 'neurons'),
    'value channels': panel('value', 'value channels of each KV head'),
    ...(prune.removedLayers ? {} : { 'KV heads': panel('kvHeads', 'KV heads') }),
  }
  return Object.fromEntries(Object.entries(panels).filter(([, bars]) => bars.some(bar => bar.value < 1)))
}

function errorBars({ prune }: PrunedRun) {
  const numbers = layerNumbers(prune)
  const panel = (half: Half) =>
    numbers.flatMap((x, i) => {
      const result = lossOf(prune, i, half)
      if (!result || !Number.isFinite(result.errorAfter)) return []
      const { errorAfter: value, errorBefore: before, heldOutError: heldOut } = result
      const held = heldOut === undefined ? '' : `, held out ${percent(heldOut)}`
      return [
        { x, value, before, heldOut, title: `layer ${x}: error ${percent(before)}, restored ${percent(value)}${held}` },
      ]
    })
  const panels = { [HALVES.ffn]: panel('ffn'), [HALVES.attention]: panel('attention') }
  return Object.fromEntries(Object.entries(panels).filter(([, bars]) => bars.length > 0))
}

/** Widths and errors of each layer of one run. */
export function layerCharts(run: PrunedRun): Chart[] {
  const widths = widthBars(run)
  const errors = errorBars(run)
  const name = runLabel(run)
  const charts: Chart[] = []
  if (Object.keys(widths).length > 0) {
    const title = `Width of each layer: ${name}`
    const y = { label: 'width left', domain: [0, 1], tickFormat: percentTick }
    charts.push({ title, note: 'Faint: the width before.', svg: layerBars(title, widths, y) })
  }
  if (Object.keys(errors).length > 0) {
    const title = `Error of each layer: ${name}`
    const note =
      'Squared output error over the squared output, of what was cut. Faint: before restoration. Blue: restored, on the windows calibrated on. Orange: how much more it is on windows held out.'
    charts.push({ title, note, svg: layerBars(title, errors, { label: 'error', tickFormat: percentTick }) })
  }
  return charts
}

/** Restored errors of all runs at once. */
export function errorMaps(result: ResultFile): Chart[] {
  const cells = prunedRuns(result).flatMap(run => {
    const numbers = layerNumbers(run.prune)
    return (['ffn', 'attention'] as const).flatMap(half =>
      numbers.flatMap((x, i): Cell[] => {
        const found = lossOf(run.prune, i, half)
        const value = found && fitOf(found)
        if (value === undefined || !Number.isFinite(value)) return []
        const title = `${runLabel(run)}, layer ${x}, ${HALVES[half]}: ${percent(value)}`
        return [{ x, y: runLabel(run), panel: HALVES[half], value, title }]
      }),
    )
  })
  if (cells.length === 0) return []
  const title = 'Restored error of each layer'
  const most = percent(Math.max(...cells.map(cell => cell.value)))
  const note = `Squared output error over the squared output of what was cut, on held-out windows where there are some. The stronger the colour, the larger; the strongest is ${most}.`
  return [{ title, note, svg: heatMap(title, cells) }]
}

/** What cutting each half-block would cost, and what was chosen. */
export function sensitivityCharts(run: PrunedRun): Chart[] {
  const { allocation, widths } = run.prune
  if (!allocation || allocation.halfBlocks.length === 0) return []
  const curves = allocation.halfBlocks.map(({ layer, kind, curve, width }) => {
    const full = kind === 'ffn' ? widths.before.ffn : widths.before.value
    const points = curve.map(point => ({ x: (100 * point.width) / full, y: point.cost }))
    const x = (100 * width) / full
    const y = costAt(points, x)
    const title = `layer ${layer}, ${HALVES[kind]}: ${width} of ${full} kept, predicted cost ${decimal(y, 4)} nats`
    return { panel: layer, kind: HALVES[kind], points, chosen: { x, y, title } }
  })
  const title = `Sensitivity of each layer: ${runLabel(run)}`
  const note =
    'One panel a layer, all on the same scales: predicted KL to the dense model against the width left; the dot is the width chosen.'
  const axes = { x: 'width left, %', y: 'predicted KL, nats a token' }
  return [{ title, note, svg: curvePanels(title, curves, axes) }]
}

/** Linear between points whose x descend. */
function costAt(points: readonly { readonly x: number; readonly y: number }[], x: number): number {
  const i = points.findIndex(point => point.x <= x)
  if (i <= 0) return points.at(i)?.y ?? 0
  const [a, b] = [points[i - 1], points[i]]
  return a.y + ((a.x - x) / (a.x - b.x)) * (b.y - a.y)
}

export function timeCharts({ runs }: ResultFile): Chart[] {
  const parts = runs.flatMap(run => secondsOf(runLabel(run), run.seconds))
  if (parts.length === 0) return []
  const title = 'Where the time went'
  return [{ title, note: 'Wall-clock seconds of each phase.', svg: stackedBars(title, parts, 'seconds') }]
}

export function engineCharts(result: ResultFile): Chart[] {
  const parts = prunedRuns(result).flatMap(run => secondsOf(runLabel(run), run.prune.engineSeconds))
  if (parts.length === 0) return []
  const title = 'Seconds in the engine, by kind of graph'
  const note = 'While pruning. The rest of the time is outside the engine.'
  return [{ title, note, svg: stackedBars(title, parts, 'seconds') }]
}

const secondsOf = (row: string, seconds: Readonly<Record<string, number>>): Part[] =>
  Object.entries(seconds)
    .filter(([, value]) => value > 0)
    .map(([part, value]) => ({ row, part, value, title: `${row}, ${part}: ${duration(value)}` }))

/** By the names of `--chart`. Of what there is one for each run, the last. */
const CHARTS: Readonly<Record<ChartName, (result: ResultFile) => Chart[]>> = {
  perplexity: perplexityCharts,
  tokens: calibrationCharts,
  accuracy: accuracyCharts,
  healing: healingCharts,
  errors: errorMaps,
  layers: result => prunedRuns(result).slice(-1).flatMap(layerCharts),
  sensitivity: result => prunedRuns(result).flatMap(sensitivityCharts).slice(-1),
  time: timeCharts,
  engine: engineCharts,
}

/** An `.svg` file with what a chart's name stands for. @throws UsageError where the result has nothing for it */
export function chartFile(result: ResultFile, name: ChartName): string {
  const charts = CHARTS[name](result)
  if (charts.length === 0)
    throw new UsageError(
      `the result has nothing for the chart ${name}. It may have something for ${CHART_NAMES.filter(one => one !== name && CHARTS[one](result).length > 0).join(', ') || 'none'}.`,
    )
  return pictureFile(charts)
}
