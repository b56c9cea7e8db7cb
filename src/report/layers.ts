// The layers of a result in tables: what each keeps, how well it fits, and why it is as wide as it is.
import { percent } from '../base/display.ts'
import type { Widths } from '../model/half-block.ts'
import type { HalfResult, LayerResult, PruneResult } from '../result/result.ts'
import { decimal, runLabel } from './labels.ts'
import type { PrunedRun } from './result-file.ts'
import type { Table } from './table.ts'

type Layers = Pick<PruneResult, 'layers' | 'widths'>

const HALVES = ['attention', 'ffn'] as const

/** Numbers, in the dense model, of the layers that stay. */
export function layerNumbers({ layers, removedLayers = [] }: Pick<PruneResult, 'layers' | 'removedLayers'>): number[] {
  const removed = new Set(removedLayers.map(({ layer }) => layer))
  return Array.from({ length: layers.length + removed.size }, (_, i) => i).filter(i => !removed.has(i))
}

/**
 * How well layer `i` fits where something of the half-block was cut. One that keeps all has no error, but a drift: how
 * far it is from a target that makes up for what was cut before it.
 */
export function lossOf({ layers, widths }: Layers, i: number, half: keyof LayerResult): HalfResult | undefined {
  const { before, after } = widths
  const { ffn, value, kvHeads = before.kvHeads, experts = before.experts } = after[i]
  const cutFfn = ffn < before.ffn || (experts ?? 0) < (before.experts ?? 0)
  const cut = half === 'ffn' ? cutFfn : value < before.value || (kvHeads ?? 0) < (before.kvHeads ?? 0)
  return cut ? layers[i][half] : undefined
}

/** What is known best of how well a half-block fits: on held-out windows where there are some. */
export const fitOf = ({ errorAfter, heldOutError = errorAfter }: HalfResult): number => heldOutError

/**
 * What each layer keeps where something was cut, and its relative squared output errors: without and with restoration on
 * the calibration activations, and on held-out windows; or which layers went.
 * @param most layers, the ones with the largest errors. @default all
 */
export function layerRows(
  result: Layers & Pick<PruneResult, 'removedLayers'>,
  most = Number.POSITIVE_INFINITY,
): string[][] {
  const { layers, removedLayers, widths } = result
  if (removedLayers)
    return [['layer removed', 'cost'], ...removedLayers.map(({ layer, cost }) => [String(layer), cost.toPrecision(4)])]
  const halves = HALVES.map(half => layers.map((_, i) => lossOf(result, i, half)))
  const worst = layers.map((_, i) => Math.max(...halves.map(of => (of[i] ? fitOf(of[i]) : 0))))
  const shown = [...layers.keys()].sort((a, b) => worst[b] - worst[a]).slice(0, most)
  // A result may be without indices of what is kept; one of before KV heads could go has those alone.
  const widthsOf = {
    attention: (half: HalfResult, { value, kvHeads = widths.before.kvHeads }: Widths) =>
      kvHeads === undefined ? half.kept.length : value * kvHeads,
    ffn: (_: HalfResult, { ffn, experts }: Widths) => experts ?? ffn,
  }
  const columns = HALVES.flatMap((kind, k) => {
    const found = halves[k]
    if (found.every(half => half === undefined)) return []
    const held = found.some(half => half?.heldOutError !== undefined)
    const cells = found.map((half, i) =>
      half
        ? [
            String(widthsOf[kind](half, widths.after[i])),
            ...[half.errorBefore, half.errorAfter, ...(held ? [fitOf(half)] : [])].map(percent),
          ]
        : ['all', '', '', ...(held ? [''] : [])],
    )
    const units = widths.after.some(({ experts }) => experts !== undefined) ? 'experts' : 'neurons'
    const head = [kind === 'ffn' ? units : 'V rows', 'error', 'restored', ...(held ? ['held out'] : [])]
    return [{ head, cells }]
  })
  if (columns.length === 0) return [['layer']]
  const numbers = layerNumbers(result)
  const rows = shown.sort((a, b) => a - b).map(i => [String(numbers[i]), ...columns.flatMap(({ cells }) => cells[i])])
  return [['layer', ...columns.flatMap(({ head }) => head)], ...rows]
}

export const layerTable = (run: PrunedRun): Table => ({
  title: `Layers of ${runLabel(run)}`,
  note:
    'What stays of what was cut, and the squared output error over the squared output: ' +
    'without and with restoration on the windows calibrated on, and on windows held out.',
  rows: layerRows(run.prune),
})

/** What allocation by sensitivity measured, and chose. */
export function sensitivityTable(run: PrunedRun): Table {
  const { allocation, widths } = run.prune
  const rows = (allocation?.halfBlocks ?? []).map(({ layer, kind, probe, width }) => {
    const full = kind === 'ffn' ? widths.before.ffn : widths.before.value
    const name = `${layer}, ${kind === 'ffn' ? 'FFN' : 'value channels'}`
    return [name, String(probe.width), decimal(probe.cost, 5), `${width} of ${full}`, percent(width / full)]
  })
  return {
    title: `Allocation of ${runLabel(run)}`,
    note:
      'Measured: KL to the dense model with only this half-block cut to the width given, ' +
      `on ${allocation?.probeTokens} tokens.`,
    rows: [['layer', 'cut to', 'KL', 'chosen', 'part'], ...rows],
  }
}
