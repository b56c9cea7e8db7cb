// Bench results as text, for a terminal of 80 columns where models have short names. Pure functions of the result.
import { bytes, duration, percent, table } from '../display.ts'
import { librariesBeside } from '../engine/facts.ts'
import { hardwareText, softwareText } from '../report/made.ts'
import type { BenchResult, Speed, SpeedResult, Stage } from './result.ts'

export function benchTable(r: BenchResult): string {
  const { workload: w, machine, activationBytes: placed } = r
  const share = (part: number | undefined) => (part === undefined ? '' : percent(part))
  const row = (s: Stage) => [
    s.kind,
    s.seconds.toFixed(2),
    percent(s.seconds / r.totalSeconds),
    s.flops === undefined ? '' : (s.flops / 1e9).toFixed(0),
    s.gflops === undefined ? '' : s.gflops.toFixed(0),
    share(s.ofPeak),
  ]
  const total = r.bound.flops / 1e9
  const rates = r.rates.map(p => [p.shape.join(' × '), p.type, p.gflops.toFixed(0)])
  const beyond = librariesBeside(machine).join(', ')
  return [
    `${w.name}: ${w.model ?? `random ${w.modelType}`}, ${w.layers} layers, ${w.windows} × ${w.seqLen} tokens, ${w.sparsity * 100} %, method paper${w.products ? `, products ${w.products}` : ''}`,
    hardwareText(machine),
    `fasp ${r.fasp}, ${softwareText(machine)}`,
    '',
    table([['product', 'type', 'GFLOP/s'], ...rates]),
    ...(beyond ? [`Peak and bound are ONNX Runtime's in float32; ${beyond} may pass them.`] : []),
    '',
    table([
      ['stage', 'seconds', 'share', 'GFLOP', 'GFLOP/s', 'of peak'],
      ...r.stages.filter(s => s.seconds >= 0.005).map(row),
      ['all', r.totalSeconds.toFixed(2), '', '', '', ''],
      ['one pass at the peak', r.bound.seconds.toFixed(2), '', total.toFixed(0), r.peak.float32.toFixed(0), ''],
    ]),
    '',
    `${r.overBound.toFixed(2)} × the bound (${r.overSquareBound.toFixed(2)} × at the rate of the square product)`,
    `products at ${percent(r.productsOfPeak)} of the peak`,
    `${Math.round(r.tokensPerSecond)} tokens/s, peak memory ${bytes(r.peakMemoryBytes)}`,
    ...(r.moved ? [`to the device ${bytes(r.moved.toDevice)}, back ${bytes(r.moved.fromDevice)}`] : []),
    ...(placed.scratch > 0 ? [`activations: ${bytes(placed.memory)} in memory, ${bytes(placed.scratch)} on disk`] : []),
    ...(r.wholeModel
      ? [
          `A layer takes ${duration(r.medianLayerSeconds)}; ${r.wholeModel.layers} layers would take ${duration(r.wholeModel.seconds)}.`,
        ]
      : []),
  ].join('\n')
}

/** Times as fast: the median of the ratios to the first model in the same turn. */
export function speedTable({ machine, fasp, tokens, speeds }: SpeedResult): string {
  const row = (one: Speed) => {
    const first = speeds.find(({ runtime }) => runtime === one.runtime)!
    const cells = (kind: 'prefill' | 'decode') => [
      spread(one[kind]),
      one === first ? '' : median(one[kind].map((rate, turn) => rate / first[kind][turn])).toFixed(2),
    ]
    return [one.runtime, one.model, ...cells('prefill'), ...cells('decode')]
  }
  return [
    hardwareText(machine),
    `fasp ${fasp}, ${softwareText(machine)}`,
    '',
    table([['runtime', 'model', 'prefill', '×', 'decode', '×'], ...speeds.map(row)]),
    '',
    `Tokens a second, medians of ${speeds[0].prefill.length} turns [lowest–highest]:`,
    `a prompt of ${tokens.prompt} tokens, then ${tokens.after} one by one. × is beside the first model.`,
  ].join('\n')
}

const spread = (rates: readonly number[]): string => {
  const digits = Math.min(...rates) < 10 ? 1 : 0
  const [middle, low, high] = [median(rates), Math.min(...rates), Math.max(...rates)].map(n => n.toFixed(digits))
  return `${middle} [${low}–${high}]`
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((x, y) => x - y)
  const middle = sorted.length / 2 - 0.5
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle)]) / 2
}
