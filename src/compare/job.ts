// What a comparison hands to a process of its own (child.node.ts), and what comes back.
import type { ProgressEvent } from '../base/events.ts'
import type { EngineOptions } from '../engine/engine.ts'
import type { Protocol, Run } from '../report/result-file.ts'
import type { TextFile } from '../text/calibration.ts'
import type { Cell } from './grid.ts'

export interface Job {
  readonly engine?: EngineOptions
  readonly model: string
  /** Folder that runs share. */
  readonly work: string
  readonly protocol: Protocol
  /** The first job measures the dense model and leaves what all others need; each of the others prunes once. */
  readonly task: DenseTask | Cell
}

export interface DenseTask {
  readonly name: 'dense'
  /** What the shared windows are known by. */
  readonly key: string
  readonly files: TextFiles
  /** Tokens that pruned models are healed on besides. */
  readonly heal?: number
  /** Where the items of tasks are. */
  readonly tasksData?: readonly string[]
  /** The dense model was measured by an earlier command; only what others need is made again. */
  readonly measured: boolean
}

/** Where texts are: those to measure on, and those to calibrate on, where the model does not write its own. */
export interface TextFiles {
  readonly text: readonly TextFile[]
  readonly calibration?: readonly TextFile[]
}

export const isDense = (task: Job['task']): task is DenseTask => !('asked' in task)

/** From the child: progress, then a run or an error. */
export type Message =
  | { readonly type: 'event'; readonly event: ProgressEvent }
  | { readonly type: 'run'; readonly run: Run }
  | { readonly type: 'error'; readonly code?: string; readonly message: string }

/** To the child, after its job. */
export const ABORT = 'abort'
