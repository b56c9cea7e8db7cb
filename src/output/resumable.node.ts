// An output that a run can go on with which is stopped: its folder or file, and the state in it.
import type { JsonObject } from '../base/json.ts'
import type { Engine } from '../engine/engine.ts'
import { type FolderSink, openFolderSink, type SinkOptions } from './folder.node.ts'
import { openState, readStateOf } from './state.node.ts'
import type { FoundState } from './state.ts'
import { type Saved, UNSAVED } from './steps.ts'

export interface Resuming {
  /** What the run is (`identityHere`). @default nothing is saved */
  readonly run?: JsonObject
  /** Go on from what an earlier run has left there. It takes a `run`. @default false */
  readonly resume?: boolean
  /** Seconds between two savings, at least; 0: after each step. @default 15 */
  readonly every?: number
  /** What runs it. */
  readonly engine?: Engine
}

interface Resumable {
  readonly sink: FolderSink
  readonly saved: Saved
  /** Said where it was to go on, and there was nothing to go on from. */
  readonly notices: readonly string[]
}

/** @throws as `openFolderSink`, and as `readStateOf` where it goes on */
export async function openResumable(
  path: string,
  overwrite: boolean,
  options: Omit<SinkOptions, 'resume'>,
  { run, resume = false, every, engine }: Resuming,
): Promise<Resumable> {
  let found: FoundState | undefined
  const find = async (pending: string) => {
    found = await readStateOf(pending, run!)
  }
  const sink = await openFolderSink(path, overwrite, { ...options, resume: resume ? find : undefined })
  const attention = engine && engine.facts.device !== 'cpu' ? engine.dialect.attention : undefined
  const state = { every, attention, reserved: options.expectedBytes }
  const saved = run ? openState(sink.pending, { run, ...state }, found) : UNSAVED
  return { sink, saved, notices: resume && !found ? ['There is nothing to resume from: it begins anew.'] : [] }
}
