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
