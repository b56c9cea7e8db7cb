// How tables and charts write runs, texts and figures.
import { shortNames } from '../base/display.ts'
import { healedText } from '../checkpoint/pruning-record.ts'
import type { PerplexityResult } from '../result/measured.ts'
import type { Run } from './result-file.ts'

/** Stands for a number that is not there, or is none. */
export const NONE = '–'

/** `fasp 30 %`, `dense`. */
export const runLabel = ({ name, sparsity, healed }: Run): string =>
  `${sparsity > 0 ? `${name} ${Number((100 * sparsity).toFixed(1))} %` : name}${healedText({ healed })}`

/** The label of a healed run before it was healed. */
export const unhealedLabel = (run: Run): string => runLabel({ ...run, healed: undefined })

/** 23.27, 51,234. */
export function decimal(value: number, digits = 2): string {
  if (!Number.isFinite(value)) return NONE
  return value < 1e4 ? value.toFixed(digits) : Math.round(value).toLocaleString('en-US')
}

/** 23.27 ± 1.86; one window or item has no error. */
export const withError = (value: number, error: number, digits = 2): string =>
  Number.isFinite(error) ? `${decimal(value, digits)} ± ${decimal(error, digits)}` : decimal(value, digits)

/** The base name of a run's text, with folders where the run has another text of that name. */
export function textName(file: string, { perplexity }: Pick<Run, 'perplexity'>): string {
  const files = perplexity.map(text => text.file)
  return shortNames([file, ...files])[0]
}

/** A text with its windows: figures on two labels are not compared. */
export const textLabel = ({ file, windows, seqLen }: TextSize, run: Pick<Run, 'perplexity'>): string =>
  `${textName(file, run)}, ${windows} × ${seqLen}`

export type TextSize = Pick<PerplexityResult, 'file' | 'windows' | 'seqLen'>

/** Every label that some run has, in the order in which they come. */
export const labels = <T>(
  runs: readonly Run[],
  of: (run: Run) => readonly T[],
  label: (one: T, run: Run) => string,
): string[] => [...new Set(runs.flatMap(run => of(run).map(one => label(one, run))))]
