// From a result to the charts that it has something for. `fasp report -o x.svg --chart NAME` writes one of them.
import { count, percent } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import { healedText } from '../checkpoint/pruning-record.ts'
import type { Widths } from '../model/half-block.ts'
import { OPTIONS } from '../options/spec.ts'
import type { LayerResult } from '../result/result.ts'
import { decimal, labels, runLabel, textLabel, unhealedLabel } from './labels.ts'
import { layerNumbers, lossOf } from './layers.ts'
import { type Bar, type LineChart, layerBars, lineChart, type Point, pictureFile } from './plot.ts'
import { healingOf, isDense, type PrunedRun, prunedRuns, type ResultFile, type Run } from './result-file.ts'
import { meanAccuracy, removedPart } from './tables.ts'

export interface Chart {
  /** Heading in the page, label for those who do not see the picture. */
  readonly title: string
  /** How to read it. */
  readonly note: string
  readonly svg: string
}

const lines = (note: string, chart: LineChart): Chart => ({ title: chart.title, note, svg: lineChart(chart) })

const percentTick = (part: number) => `${Number((100 * part).toFixed(1))} %`

const CUT = {
  label: 'decoder linears removed',
  tickFormat: (part: number) => percent(part).replace('.0', ''),
  ticks: 6,
}

const PERPLEXITY = { type: 'log', label: 'perplexity', tickFormat: (n: number) => n.toLocaleString('en-US') } as const

/** Healed models have a line of their own. */
const seriesName = (run: Run): string => `${run.name}${healedText(run)}`

/** A series for each method: its runs by cut, the dense model at 0. */
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

/** A chart for each text. @param draw gets the perplexity of a run on the text */
const forTexts = (
  runs: readonly Run[],
  draw: (text: string, perplexity: (run: Run) => number | undefined) => Chart[],
): Chart[] =>
  labels(runs, run => run.perplexity, textLabel).flatMap(text =>
    draw(text, run => run.perplexity.find(one => textLabel(one, run) === text)?.perplexity),
  )

/** A model with so many times the dense perplexity is of no use; the table says the rest. */
const HOPELESS = 50

/** Perplexity against size. */
export const perplexityCharts = ({ runs }: ResultFile): Chart[] =>
  forTexts(runs, (text, perplexity) => {
    const { series, reference } = byMethod(runs, perplexity, value => decimal(value))
    if (series.length === 0) return []
    const limit = reference && HOPELESS * reference.y
    const upTo = limit ? `, up to ${HOPELESS} times that of the dense model` : ''
    const title = `Perplexity against size: ${text}`
    const note = `Lower is better. The scale of perplexity is logarithmic${upTo}.`
    return [lines(note, { title, x: CUT, y: PERPLEXITY, series, reference, limit })]
  })

/** A line for each label, from left to right. */
const byLabel = (points: readonly (Point & { readonly label: string })[]) =>
  [...new Set(points.map(({ label }) => label))].map(name => ({
    name,
    points: points.filter(({ label }) => label === name).sort((a, b) => a.x - b.x),
  }))

/** Perplexity against the size of the calibration text, where runs differ in it; a line for each method and cut. */
function calibrationCharts(result: ResultFile): Chart[] {
  const sized = prunedRuns(result).map(run => {
    const { texts, seqLen } = run.prune.calibration
    return { run, label: runLabel(run), x: seqLen * texts.reduce((n, text) => n + text.used, 0) }
  })
  const ticks = [...new Set(sized.map(({ x }) => x))]
  if (ticks.length < 2) return []
  return forTexts(result.runs, (text, perplexity) => {
    const points = sized.flatMap(({ run, label, x }) => {
      const y = perplexity(run) ?? Number.NaN
      return Number.isFinite(y) ? [{ label, x, y, title: `${label}, ${count(x)} tokens: ${decimal(y)}` }] : []
    })
    const title = `Perplexity against calibration tokens: ${text}`
    const x = { type: 'log', label: 'calibration tokens', ticks, tickFormat: count } as const
    const note = 'Lower is better. Both scales are logarithmic.'
    return [lines(note, { title, x, y: PERPLEXITY, series: byLabel(points) })]
  })
}

export function accuracyCharts({ runs }: ResultFile): Chart[] {
  const { series, reference } = byMethod(runs, meanAccuracy, value => percent(value))
  if (series.length === 0) return []
  const title = 'Mean zero-shot accuracy against size'
  const y = { type: 'linear', label: 'mean accuracy', tickFormat: percentTick, ticks: 6 } as const
  const note = 'Higher is better. Mean over the tasks, normalised accuracy where there is one.'
  return [lines(note, { title, x: CUT, y, series, reference })]
}

/** Perplexity against tokens of healing, where runs differ in them, and KL to the dense model over the steps. */
export const healingCharts = (result: ResultFile): Chart[] => [
  ...healedTokensCharts(result),
  ...healingStepsCharts(result),
]

/** A line for each method and cut, from the model that is not healed. */
function healedTokensCharts(result: ResultFile): Chart[] {
  const { runs } = result
  const pruned = prunedRuns(result)
  const ticks = [...new Set(pruned.map(run => run.healed ?? 0))]
  if (ticks.length < 3) return []
  return forTexts(runs, (text, perplexity) => {
    const points = pruned.flatMap(run => {
      const y = perplexity(run) ?? Number.NaN
      const title = `${runLabel(run)}: ${decimal(y)}`
      return Number.isFinite(y) ? [{ label: unhealedLabel(run), x: run.healed ?? 0, y, title }] : []
    })
    const title = `Perplexity against tokens of healing: ${text}`
    const x = { label: 'tokens of healing', ticks, tickFormat: count } as const
    const { reference } = byMethod(runs, perplexity, value => decimal(value))
    const note = 'Lower is better. The scale of perplexity is logarithmic.'
    return [lines(note, { title, x, y: PERPLEXITY, series: byLabel(points), reference })]
  })
}

/** Steps that have room for their numbers below a chart. */
const MANY = 12

function healingStepsCharts({ runs }: ResultFile): Chart[] {
  const names = runs.filter(run => run.healed).map(unhealedLabel)
  const series = runs.flatMap(run => {
    const curve = (healingOf(run)?.curve ?? []).filter(({ kl }) => Number.isFinite(kl))
    if (curve.length < 2) return []
    const name = unhealedLabel(run)
    const isAlone = names.filter(other => other === name).length < 2
    const points = curve.map(({ step, kl }) => {
      return { x: step, y: kl, title: `${runLabel(run)}, step ${step}: ${decimal(kl, 4)}` }
    })
    return [{ name: isAlone ? name : `${name}, ${count(run.healed!)} tokens`, points }]
  })
  if (series.length === 0) return []
  const measured = [...new Set(series.flatMap(({ points }) => points.map(({ x }) => x)))]
  const x = { label: 'step', ticks: measured.length > MANY ? MANY : measured, tickFormat: String }
  const y = { type: 'linear', label: 'KL, nats a token', ticks: 6 } as const
  const note = 'Lower is better. On held-out windows; the step with the least is kept.'
  return [lines(note, { title: 'Healing: KL to the dense model over the steps', x, y, series })]
}

/** Part of its width that each layer keeps. */
function widthBars({ prune }: PrunedRun, of: keyof Widths, unit: string): Bar[] {
  const { before, after } = prune.widths
  const numbers = layerNumbers(prune)
  const full = before[of] ?? 1 // a result may be without KV heads
  const kept = after.map((widths, i) => {
    const width = widths[of] ?? full
    return { x: numbers[i], value: width / full, before: 1, title: `layer ${numbers[i]}: ${width} of ${full} ${unit}` }
  })
  const removed = (prune.removedLayers ?? []).map(({ layer }) => {
    return { x: layer, value: 0, before: 1, title: `layer ${layer}: removed` }
  })
  return [...kept, ...removed]
}

function errorBars({ prune }: PrunedRun, half: keyof LayerResult): Bar[] {
  return layerNumbers(prune).flatMap((x, i) => {
    const result = lossOf(prune, i, half)
    if (!result || !Number.isFinite(result.errorAfter)) return []
    const { errorAfter: value, errorBefore: before, heldOutError: heldOut } = result
    const held = heldOut === undefined ? '' : `, held out ${percent(heldOut)}`
    const title = `layer ${x}: error ${percent(before)}, restored ${percent(value)}${held}`
    return [{ x, value, before, heldOut, title }]
  })
}

const ERRORS =
  'Squared output error over the squared output, of what was cut. Faint: before restoration. ' +
  'Blue: restored, on the windows calibrated on. Orange: how much more it is on windows held out.'

/** Widths and errors of each layer of one run. */
export function layerCharts(run: PrunedRun): Chart[] {
  const name = runLabel(run)
  const widths = {
    FFN: widthBars(run, 'ffn', 'neurons'),
    'value channels': widthBars(run, 'value', 'value channels of each KV head'),
    'KV heads': run.prune.removedLayers ? [] : widthBars(run, 'kvHeads', 'KV heads'),
  }
  const errors = { FFN: errorBars(run, 'ffn'), 'value channels': errorBars(run, 'attention') }
  const chart = (title: string, note: string, panels: Readonly<Record<string, Bar[]>>, y: object): Chart[] =>
    Object.keys(panels).length > 0 ? [{ title, note, svg: layerBars(title, panels, y) }] : []
  return [
    ...chart(
      `Width of each layer: ${name}`,
      'Faint: the width before.',
      panelsWith(widths, bars => bars.some(bar => bar.value < 1)),
      { label: 'width left', domain: [0, 1], tickFormat: percentTick },
    ),
    ...chart(
      `Error of each layer: ${name}`,
      ERRORS,
      panelsWith(errors, bars => bars.length > 0),
      { label: 'error', tickFormat: percentTick },
    ),
  ]
}

const panelsWith = (panels: Readonly<Record<string, Bar[]>>, has: (bars: Bar[]) => boolean) =>
  Object.fromEntries(Object.entries(panels).filter(([, bars]) => has(bars)))

/** The charts that can be written as `.svg`. */
export const CHART_NAMES = OPTIONS.chart.choices
export type ChartName = (typeof CHART_NAMES)[number]

/** By the names of `--chart`. Where each run has its own, that of the last. */
const CHARTS: Readonly<Record<ChartName, (result: ResultFile) => Chart[]>> = {
  perplexity: perplexityCharts,
  tokens: calibrationCharts,
  accuracy: accuracyCharts,
  healing: healingCharts,
  layers: result => prunedRuns(result).slice(-1).flatMap(layerCharts),
}

/** An `.svg` file with what a chart's name stands for. @throws UsageError where the result has nothing for it */
export function chartFile(result: ResultFile, name: ChartName): string {
  const charts = CHARTS[name](result)
  if (charts.length > 0) return pictureFile(charts)
  const others = CHART_NAMES.filter(other => CHARTS[other](result).length > 0).join(', ') || 'none'
  throw new UsageError(`the result has nothing for the chart ${name}. It may have something for ${others}.`)
}
