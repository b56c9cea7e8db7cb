// How a model was healed, in words and numbers: the KL to the dense model over the steps.
import { table } from '../base/display.ts'
import type { HealRecord } from '../result/result.ts'
import { decimal } from './labels.ts'
import type { TerminalStyle } from './table.ts'
import { sparkline } from './terminal.ts'

export const healedWords = ({ tokens, kl }: Pick<HealRecord, 'tokens' | 'kl'>): string =>
  `Healed on ${tokens.toLocaleString('en')} tokens: KL to the dense model on held-out windows ${decimal(kl.before, 4)} → ${decimal(kl.after, 4)}.`

type Curve = Pick<HealRecord, 'curve' | 'step'>

/** Steps and the KL after each, and which of them is kept. */
export const curveRows = ({ curve, step: best }: Curve): string[][] => [
  ['step', 'KL', ''],
  ...curve.map(({ step, kl }) => [`${step}`, decimal(kl, 4), step === best ? 'kept' : '']),
]

/** KL on held-out windows over the steps. */
export function curveText(healed: Curve, style: TerminalStyle): string {
  const line = style.blocks ? `${sparkline(healed.curve.map(({ kl }) => kl))}\n` : ''
  return `${line}${table(curveRows(healed))}`
}
