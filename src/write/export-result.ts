// What an export gives: plain data, for `--json` and `fasp.json`.
import type { TargetName } from './targets.ts'

export interface ExportResult {
  readonly to: TargetName
  readonly dtype: string
  /** Below the output; empty where it is the output itself. */
  readonly folder: string
  /** Of all its files. */
  readonly bytes: number
}

/** Bytes of the files with the weights, of the model as it is and of the pruned one, before any weight is read. */
export interface PlannedExport {
  readonly to: TargetName
  readonly dtype: string
  readonly bytes: { readonly before: number; readonly after: number }
}
