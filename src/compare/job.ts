// What a comparison hands to a process of its own (child.node.ts), and what comes back.

import type { ProgressEvent } from '../base/events.ts'
import type { EngineOptions } from '../engine/engine.ts'
import type { Run } from '../report/result-file.ts'
import type { TextFile } from '../text/calibration.ts'
import type { Cell } from './grid.ts'

export interface Job {
  readonly engine?: EngineOptions
  readonly model: string
  /** Folder that runs share. */
  readonly work: string
  /** The first job measures the dense model and leaves there what all others need; each of those prunes once. */
  readonly task: DenseTask | Cell
  /** What models continue. */
  readonly prompts: readonly string[]
}

export interface DenseTask {
  readonly name: 'dense'
  /** Of the protocol, to know the shared windows by. */
  readonly key: string
  readonly text: readonly TextFile[]
  readonly seqLen: number
  /** Of each text. */
  readonly textWindows?: readonly number[]
  /** Undefined: the model writes its own. */
  readonly calibration?: readonly TextFile[]
  readonly windows: number
  readonly calibrationSeqLen: number
  readonly seed: number
  /** Tokens that pruned models are healed on besides. */
  readonly heal?: number
  /** Names of zero-shot tasks, and where their items are. */
  readonly tasks: readonly string[]
  readonly tasksData?: readonly string[]
  readonly limit?: number
  /** The dense model was measured by an earlier command; only what others need is made again. */
  readonly measured: boolean
}

export const isDense = (task: Job['task']): task is DenseTask => !('asked' in task)

/** From the child: progress, then a run or an error. */
export type Message =
  | { readonly type: 'event'; readonly event: ProgressEvent }
  | { readonly type: 'run'; readonly run: Run }
  | { readonly type: 'error'; readonly code?: string; readonly message: string }

/** To the child, after its job. */
export const ABORT = 'abort'
