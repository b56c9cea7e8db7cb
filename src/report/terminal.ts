// Results as text for a terminal of 80 columns. Pure functions of the result.
import { bytes, count, cut, duration, percent, span, table, widthsText, wrap } from '../base/display.ts'
import type { VocabularyCut } from '../checkpoint/checkpoint.ts'
import { healedTokens, sparsityText } from '../checkpoint/pruning-record.ts'
import type { Inspection, Outline } from '../evaluate/inspect.ts'
import type { LayerWidths, Widths } from '../model/half-block.ts'
import type { Amount, ResolvedOptions } from '../options/options.ts'
import type { Plan, Sizes } from '../options/plan.ts'
import type { HealRecord, LayerResult, PruneResult } from '../result/result.ts'
import type { ExportResult, PlannedExport } from '../write/export-result.ts'
import { decimal, runLabel } from './labels.ts'
import { layerRows, lossOf } from './layers.ts'
import { madeLines } from './made.ts'
import { prunedRuns, type ResultFile, type Run } from './result-file.ts'
import { fitted, heading, PLAIN, type TerminalStyle, tablesText } from './table.ts'
import { comparisonTables, exportRows, lossesIn, measureTables, resultTables } from './tables.ts'

/** Lines and parts that are there. */
const joined = (parts: readonly (string | 0 | false | undefined)[]) => parts.filter(Boolean).join('\n')

/** What pruning makes of a number, and how much less that is. */
const change = (name: string, of: Parameters<typeof cut>[0], show: (n: number) => string, less = cut(of)) => [
  ...[name, show(of.before), show(of.after), less],
]

/** The three sparsity figures. */
export function sizesTable({ decoderLinears, parameters, weightBytes }: Sizes): string {
  const { before, stored, effective } = parameters
  const whole = change('whole model', { before, after: effective }, count)
  const zeros = stored === effective ? [] : [change('whole model, zeros stored', { before, after: stored }, count)]
  const [linears, weights] = [
    change('decoder linears', decoderLinears, count),
    change('weights on disk', weightBytes, bytes),
  ]
  return table([['', 'before', 'after', 'cut'], linears, whole, ...zeros, weights])
}

/** What was asked for, and what that is of the whole. */
export function askedText(
  { sparsity = 0, size, parameters, maxLoss }: Amount,
  { sizes, vocabulary }: { readonly sizes: Sizes; readonly vocabulary?: VocabularyCut },
): string {
  const { decoderLinears, parameters: all } = sizes
  const asked =
    (size !== undefined && bytes(size)) ||
    (parameters !== undefined && `${count(parameters)} parameters`) ||
    (maxLoss !== undefined && `at most ${maxLoss} nats a token on held-out text`)
  const part = 1 - decoderLinears.after / decoderLinears.before
  if (asked) return `Asked ${asked}: sparsity ${part.toFixed(3)} of the decoder linears.`
  const rest = count(all.before - decoderLinears.before)
  const went = Math.abs(part - sparsity) < ROUNDED ? '' : `; ${percent(part)} go, as widths are rounded,`
  const whole = `${cut({ before: all.before, after: all.effective })} of all parameters`
  const [besides, loss] = vocabulary ? [', and fewer tokens', 'lose only rows of tokens'] : ['', 'are not cut']
  return wrap(
    `Asked ${sparsityText({ sparsity })} of the decoder linears${besides}${went} = ${whole}: ` +
      `embedding, head and norms (${rest} parameters) ${loss}.`,
    PLAIN.columns,
  )
}

/** A part of the decoder linears that is not worth a word. */
const ROUNDED = 0.005

/** How a model was healed. */
export const healedWords = ({ tokens, kl: { before, after } }: Pick<HealRecord, 'tokens' | 'kl'>): string =>
  `Healed on ${tokens.toLocaleString('en')} tokens: ` +
  `KL to the dense model on held-out windows ${decimal(before, 4)} → ${decimal(after, 4)}.`

/** KL on held-out windows over the steps, and which of them is kept. */
export function curveText({ curve, step: best }: Pick<HealRecord, 'curve' | 'step'>, style: TerminalStyle): string {
  const line = style.blocks ? `${sparkline(curve.map(({ kl }) => kl))}\n` : ''
  const rows = curve.map(({ step, kl }) => [`${step}`, decimal(kl, 4), step === best ? 'kept' : ''])
  return `${line}${table([['step', 'KL', ''], ...rows])}`
}

/** Layers that have a row of their own where not all have. */
const WORST = 5

/** What layers keep and how well they fit: lines on all, rows of the worst or of all. Undefined where nothing was cut. */
export function layersText(
  result: Pick<PruneResult, 'layers' | 'removedLayers' | 'widths'>,
  all: boolean | undefined,
  style: TerminalStyle,
): string | undefined {
  const rows = layerRows(result, all ? undefined : WORST)
  if (rows.length === 1) return undefined
  const lines = layerLines(result, style)
  const left = result.layers.length - (rows.length - 1)
  const more = left > 0 && !all ? `\nThe ${rows.length - 1} worst layers; --json has all ${result.layers.length}.` : ''
  return `${lines && `${lines}\n\n`}${table(rows)}${more}`
}

/** What pruning cost on windows of the calibration texts, used and held out. Undefined where none were held out. */
export function lossTable({ calibration, healed }: Pick<PruneResult, 'calibration' | 'healed'>): string | undefined {
  const rows = lossesIn(calibration.texts, 'calibrated on').map(({ label, loss: { windows, dense, pruned } }) => [
    `${label}, ${windows} × ${calibration.seqLen}`,
    ...[dense, pruned, pruned - dense].map(nats => nats.toFixed(3)),
  ])
  const head = ['loss in nats a token', 'dense', healed ? 'before healing' : 'pruned', 'cost']
  return rows.length > 0 ? fitted([head, ...rows], PLAIN.columns) : undefined
}

/** What a smaller vocabulary holds, and what texts become under it. */
export function vocabularyTable({ tokens, parameters, texts }: VocabularyCut): string {
  const changes = texts.map(({ name, tokensPerWord: of }) => {
    const more = `${of.after < of.before ? '' : '+'}${percent(of.after / of.before - 1)}`
    return change(`tokens a word, ${name}`, of, n => n.toFixed(3), more)
  })
  const row = change('vocabulary', tokens, count, `−${count(parameters)} parameters`)
  return fitted([['', 'before', 'after', 'change'], row, ...changes], PLAIN.columns)
}

export const exportsTable = (exports: readonly ExportResult[]): string => table(exportRows(exports))

export function secondsLine(seconds: Readonly<Record<string, number>>, peakBytes: number): string {
  const parts = Object.entries(seconds).map(([phase, s]) => `${phase} ${duration(s)}`)
  return `${parts.join(', ')}; peak memory ${bytes(peakBytes)}`
}

interface Planned extends Plan {
  readonly options: Pick<ResolvedOptions, 'allocate'>
  readonly vocabulary?: VocabularyCut
  readonly exports: readonly PlannedExport[]
  readonly healing?: { readonly tokens: number; readonly memoryBytes: number; readonly diskBytes: number }
}

export function planText(plan: Planned): string {
  const { options, widths, layers, sizes, memoryBytes, activationBytes, exports, vocabulary, healing } = plan
  const { before, after } = layers
  const files = exports.map(({ to, dtype, bytes: b }) => [to, ...change(dtype.toLowerCase(), b, bytes)])
  const mean = options.allocate === 'uniform' ? '' : ' That is the mean: the run measures how many each layer keeps.'
  const { scratch } = activationBytes
  const onDisk = ` Activations in a scratch file: ${bytes(scratch)}; --memory keeps more in memory.`
  return joined([
    after.length < before ? `Layers: ${after.length} of ${before}.` : `${widthsText(widths)}${mean}`,
    sizesTable(sizes),
    vocabulary && vocabularyTable(vocabulary),
    files.length > 0 && table([['export', 'type', 'before', 'after', 'cut'], ...files]),
    `Expected memory: ${bytes(memoryBytes)}.${scratch > 0 ? onDisk : ''}`,
    healing &&
      wrap(
        `Healing on ${healing.tokens.toLocaleString('en')} tokens then takes ${bytes(healing.memoryBytes)} of memory, ` +
          `and ${bytes(healing.diskBytes)} of disk beside the output until it has ended.`,
        PLAIN.columns,
      ),
  ])
}

export function inspectionText(i: Inspection): string {
  const { parameters: p, pruned, experts } = i
  const share = (n: number) => percent(n / p.total)
  const part = (name: string, n: number) => [name, count(n), share(n)]
  const rows = [
    ['', 'parameters', 'share'],
    part('query, key', p.queryKey),
    part('value, output', p.valueOutput),
    part('FFN', p.ffn),
    part('embeddings, norms, head', p.other),
    ['all', count(p.total), ''],
  ]
  const cuttable = i.cuttable.map(({ scope, parameters, methods }) => [
    ...[`${scope}, ${share(parameters)}`, methods.join(', ') || `--${scope}`],
  ])
  const mixture = experts ? ` of ${experts.count} experts, ${experts.active} to a token` : ''
  const shape = [
    `${i.layers} layers, hidden size ${i.hiddenSize}, FFN ${i.ffnWidth}${mixture}, ` +
      `${i.heads} heads of ${i.headSize} (${i.kvHeads} for keys and values),`,
    `vocabulary ${i.vocabularySize}, context ${i.context}, ${i.tiedHead ? 'tied' : 'separate'} head; ${typesText(i)}`,
  ]
  return joined([
    `${i.name}: ${i.modelType}, ${filesText(i)}`,
    wrap(shape.join(experts ? ' ' : '\n'), PLAIN.columns),
    pruned &&
      `pruned: ${sparsityText(pruned)} of the decoder linears of ${pruned.hubId ?? pruned.source}, method ${pruned.method}`,
    pruned?.healed && `healed: ${healedTokens(pruned)}`,
    i.layerWidths && compactLine(i.layerWidths, i.headSize),
    table(rows),
    fitted([['can be cut, of all', 'by methods'], ...cuttable], PLAIN.columns),
    i.missingCode.length > 0 &&
      `transformers cannot load this folder without ${i.missingCode.join(' and ')}. ` +
        'Copy it from another compact model; it is the same in all.',
    i.unused.length > 0 && `Not used: ${i.unused.join(', ')}`,
  ])
}

const filesText = ({ format, weightBytes }: Pick<Outline, 'format' | 'weightBytes'>) =>
  `${format === 'gguf' ? 'GGUF' : 'Hugging Face folder'}, ${bytes(weightBytes)} of weights`

const typesText = ({ dtypes }: Pick<Outline, 'dtypes'>) =>
  `tensors: ${Object.entries(dtypes)
    .map(([dtype, n]) => `${n} ${dtype}`)
    .join(', ')}`

/** Of a model that is not supported. */
export const outlineText = (o: Outline): string =>
  `${o.name}: ${filesText(o)}\n${count(o.parameters)} parameters; ${typesText(o)}`

function compactLine(layers: readonly LayerWidths[], headSize: number): string {
  const range = (numbers: readonly number[]) => [...new Set([Math.min(...numbers), Math.max(...numbers)])].join(' to ')
  const values = range(layers.flatMap(layer => layer.values))
  return `compact: FFN ${range(layers.map(layer => layer.ffn))}, ${values} of ${headSize} value channels in each KV head`
}

export const tensorsTable = ({ tensors }: Inspection): string =>
  table([['tensor', 'type', 'shape'], ...tensors.map(t => [t.name, t.dtype, `[${t.shape.join(', ')}]`])])

/** What was measured of models, dense and pruned. */
export const measuresText = (runs: readonly Run[]): string => tablesText(measureTables({ runs }))

/** A comparison; where its runs were made in several places, which where. */
export function comparisonText(result: ResultFile, style: TerminalStyle = PLAIN): string {
  const made = madeLines(result)
  const places = (made.length > 1 ? made : []).map(text => wrap(text, style.columns))
  return [tablesText(comparisonTables(result), style), ...places].join('\n\n')
}

/** Everything that a result says, as text. */
export function resultText(result: ResultFile, style: TerminalStyle = PLAIN): string {
  const { name, modelType, layers, parameters } = result.model
  const made = madeLines(result).map(text => wrap(text, style.columns))
  const head = `${heading(name, style)}: ${modelType}, ${layers} layers, ${count(parameters)} parameters`
  const ofLayers = prunedRuns(result).map(
    run => `${heading(`Layers of ${runLabel(run)}`, style)}\n${layerLines(run.prune, style)}`,
  )
  return [[head, ...made].join('\n'), tablesText(resultTables(result), style), ...ofLayers].join('\n\n')
}

/** Widths over the layers, and errors as restored and held out: as sparklines, or as ranges where there are no blocks. */
export function layerLines({ widths, layers }: Pick<PruneResult, 'widths' | 'layers'>, style: TerminalStyle): string {
  const kept = (name: string, of: keyof Widths) => {
    const full = widths.before[of] ?? 0
    return { name, full, values: widths.after.map(after => after[of] ?? full) }
  }
  const errors = (name: string, half: keyof LayerResult, of: 'errorAfter' | 'heldOutError') => {
    return { name, full: 0, values: layers.map((_, i) => lossOf({ widths, layers }, i, half)?.[of] ?? 0) }
  }
  return [
    kept('FFN neurons', 'ffn'),
    kept('value channels', 'value'),
    kept('KV heads', 'kvHeads'),
    kept('experts', 'experts'),
    errors('FFN restored', 'ffn', 'errorAfter'),
    errors('FFN held out', 'ffn', 'heldOutError'),
    errors('value restored', 'attention', 'errorAfter'),
    errors('value held out', 'attention', 'heldOutError'),
  ]
    .filter(({ values, full }) => values.some(value => value !== full))
    .map(({ name, values, full }) => {
      const [low, high] = [Math.min(...values), Math.max(...values)]
      const range = full ? `${span(values)} of ${full}` : `${percent(low)} to ${percent(high)}`
      const line = style.blocks ? `${sparkline(values, full || high, style.columns - 40)}  ` : ''
      return `${name.padEnd(15)}${line}${range}`
    })
    .join('\n')
}

const BLOCKS = '▁▂▃▄▅▆▇█'

/** A block for each value, from 0 to `top`; means of neighbours where there are more than `columns`. */
export function sparkline(values: readonly number[], top = Math.max(...values), columns = 60): string {
  const n = Math.min(values.length, columns)
  const means = Array.from({ length: n }, (_, i) => {
    const some = values.slice(Math.floor((i * values.length) / n), Math.floor(((i + 1) * values.length) / n))
    return some.reduce((sum, value) => sum + value, 0) / some.length
  })
  return means.map(mean => BLOCKS[Math.min(7, Math.max(0, Math.floor((8 * mean) / (top || 1))))] ?? ' ').join('')
}
