// Results as text for a terminal of 80 columns. Pure functions of the result.

import { baseName, bytes, count, cut, duration, percent, table, widthsText } from '../display.ts'
import type { Inspection } from '../evaluate/inspect.ts'
import type { ExportResult } from '../export/result.ts'
import type { LayerWidths } from '../model/architecture.ts'
import type { Plan } from '../plan.ts'
import type { HalfResult, PerplexityResult, PruneResult, Sizes } from '../result.ts'

/** The three sparsity figures. */
export function sizesTable({ decoderLinears, parameters, weightBytes }: Sizes): string {
  const { before, stored, effective } = parameters
  const rows = [
    ['', 'before', 'after', 'cut'],
    ['decoder linears', count(decoderLinears.before), count(decoderLinears.after), cut(decoderLinears)],
    ['whole model', count(before), count(effective), cut({ before, after: effective })],
    ...(stored === effective
      ? []
      : [['whole model, zeros stored', count(before), count(stored), cut({ before, after: stored })]]),
    ['weights on disk', bytes(weightBytes.before), bytes(weightBytes.after), cut(weightBytes)],
  ]
  return table(rows)
}

/** Relative squared output error of every half-block, without and with restoration; or which layers went. */
export function errorsTable({ layers, removedLayers }: Pick<PruneResult, 'layers' | 'removedLayers'>): string {
  if (removedLayers)
    return table([
      ['layer removed', 'cost'],
      ...removedLayers.map(({ layer, cost }) => [String(layer), cost.toPrecision(4)]),
    ])
  const cells = (half: HalfResult | undefined) =>
    half ? [String(half.kept.length), percent(half.errorBefore), percent(half.errorAfter)] : ['all', '', '']
  const attention = layers.some(layer => layer.attention)
  const head = ['layer', ...(attention ? ['V rows', 'error', 'restored'] : []), 'neurons', 'error', 'restored']
  const rows = layers.map((layer, i) => [String(i), ...(attention ? cells(layer.attention) : []), ...cells(layer.ffn)])
  return table([head, ...rows])
}

export function perplexityTable(columns: Readonly<Record<string, readonly PerplexityResult[]>>): string {
  const names = Object.keys(columns)
  const texts = columns[names[0]]
  const cell = (r: PerplexityResult) =>
    `${r.perplexity.toFixed(3)} ± ${Number.isNaN(r.standardError) ? '–' : r.standardError.toFixed(3)}`
  return table([
    ['perplexity ± standard error', ...names],
    ...texts.map((text, i) => [
      `${baseName(text.file)}, ${text.windows} × ${text.seqLen}, ${text.bos ? 'BOS' : 'no BOS'}`,
      ...names.map(name => cell(columns[name][i])),
    ]),
  ])
}

/** What pruning cost on the calibration texts: on windows calibrated on, and on others. Undefined where none were held out. */
export function lossTable({ calibration }: Pick<PruneResult, 'calibration'>): string | undefined {
  const rows = calibration.texts.flatMap(({ name, loss }) =>
    loss
      ? ([['calibrated on', loss.calibratedOn] as const, ['held out', loss.heldOut] as const] as const).map(
          ([what, { windows, dense, pruned }]) => [
            `${name}, ${what}, ${windows} × ${calibration.seqLen}`,
            dense.toFixed(3),
            pruned.toFixed(3),
            (pruned - dense).toFixed(3),
          ],
        )
      : [],
  )
  return rows.length > 0 ? table([['loss in nats a token', 'dense', 'pruned', 'cost'], ...rows]) : undefined
}

export const exportsTable = (exports: readonly ExportResult[]): string =>
  table([
    ['export', 'folder', 'type', 'size'],
    ...exports.map(({ to, folder, dtype, bytes: n }) => [to, folder || '.', dtype.toLowerCase(), bytes(n)]),
  ])

export function secondsLine(seconds: Readonly<Record<string, number>>, peakBytes: number): string {
  const parts = Object.entries(seconds).map(([phase, s]) => `${phase} ${duration(s)}`)
  return `${parts.join(', ')}; peak memory ${bytes(peakBytes)}`
}

export function planText({ widths, layers, sizes, memoryBytes, activationBytes }: Plan): string {
  const { before, after } = layers
  return [
    after.length < before ? `Layers: ${after.length} of ${before}.` : widthsText(widths),
    sizesTable(sizes),
    `Expected memory: ${bytes(memoryBytes)}.${activationBytes.scratch > 0 ? ` Activations in a scratch file: ${bytes(activationBytes.scratch)}; --memory keeps more in memory.` : ''}`,
  ].join('\n')
}

export function inspectionText(i: Inspection): string {
  const { parameters: p } = i
  const share = (n: number) => percent(n / p.total)
  const rows = [
    ['', 'parameters', 'share'],
    ['query, key', count(p.queryKey), share(p.queryKey)],
    ['value, output', count(p.valueOutput), share(p.valueOutput)],
    ['FFN', count(p.ffn), share(p.ffn)],
    ['embeddings, norms, head', count(p.other), share(p.other)],
    ['all', count(p.total), ''],
  ]
  const types = Object.entries(i.dtypes).map(([dtype, n]) => `${n} ${dtype}`)
  return [
    `${i.name}: ${i.modelType}, ${i.format === 'gguf' ? 'GGUF' : 'Hugging Face folder'}, ${bytes(i.weightBytes)} of weights`,
    `${i.layers} layers, hidden size ${i.hiddenSize}, FFN ${i.ffnWidth}, ${i.heads} heads of ${i.headSize} (${i.kvHeads} for keys and values),`,
    `vocabulary ${i.vocabularySize}, context ${i.context}, ${i.tiedHead ? 'tied' : 'separate'} head; tensors: ${types.join(', ')}`,
    ...(i.layerWidths ? [compactLine(i.layerWidths, i.headSize)] : []),
    table(rows),
    ...(i.missingCode.length > 0
      ? [
          `transformers cannot load this folder without ${i.missingCode.join(' and ')}. Copy it from another compact model; it is the same in all.`,
        ]
      : []),
    ...(i.unused.length > 0 ? [`Not used: ${i.unused.join(', ')}`] : []),
  ].join('\n')
}

function compactLine(layers: readonly LayerWidths[], headSize: number): string {
  const range = (numbers: readonly number[]) => [...new Set([Math.min(...numbers), Math.max(...numbers)])].join(' to ')
  const values = range(layers.flatMap(layer => layer.values))
  return `compact: FFN ${range(layers.map(layer => layer.ffn))}, ${values} of ${headSize} value channels in each KV head`
}

export const tensorsTable = ({ tensors }: Inspection): string =>
  table([['tensor', 'type', 'shape'], ...tensors.map(t => [t.name, t.dtype, `[${t.shape.join(', ')}]`])])
