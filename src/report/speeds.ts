// What `fasp bench` finds, printed by `--json` and written by `--output`, and its text for a terminal of 80 columns.
import { table } from '../base/display.ts'
import { hardwareText, softwareText } from './made.ts'
import type { Made } from './result-file.ts'

export interface SpeedResult extends Made {
  readonly schema: 1
  /** Of the prompt, and after it, one by one. */
  readonly tokens: { readonly prompt: number; readonly after: number }
  /** By runtime, then in the order of the models. */
  readonly speeds: readonly Speed[]
}

export interface Speed {
  readonly runtime: string
  readonly model: string
  /** Tokens a second, turn by turn. */
  readonly prefill: readonly number[]
  readonly decode: readonly number[]
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
