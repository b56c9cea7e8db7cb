// What `fasp bench` finds: plain data, printed by `--json` and written by `--output`. table.ts turns it into text.
import type { Made } from '../report/result-file.ts'

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
