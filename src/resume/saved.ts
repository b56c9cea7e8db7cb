// What a run that is killed goes on from: the values of its steps that are done, and what they have made of the streams and of the output.
import type { ProgressEvent } from '../events.ts'
import type { Twins } from '../forward/twins.ts'
import type { CheckpointWriter } from '../write/checkpoint.ts'

/** What a step does, and tells while it does it. */
type Doing<T> = () => AsyncGenerator<ProgressEvent, T> | Promise<T>

/** What steps change. */
export interface Held {
  readonly streams: Readonly<Record<string, Twins | undefined>>
  readonly outputs: Readonly<Record<string, CheckpointWriter | undefined>>
}

export interface Saved {
  /** Whether an earlier run has done a step. */
  has(name: string): boolean
  /** What a step gave when it was done, or what doing it gives: plain data and typed arrays. */
  step<T>(name: string, doing: Doing<T>): AsyncGenerator<ProgressEvent, T>
  /** From here on steps change this. */
  holds(held: Held): void
  /** What is held becomes what the steps that an earlier run has done have made of it. Before a step that is not done this is done by itself. */
  restore(): AsyncGenerator<ProgressEvent, void>
}

export async function* done<T>(doing: Doing<T>): AsyncGenerator<ProgressEvent, T> {
  const work = doing()
  return 'next' in work ? yield* work : await work
}

/** Saves nothing. */
export const UNSAVED: Saved = {
  has: () => false,
  step: (_, doing) => done(doing),
  holds() {},
  restore: () => done(async () => {}),
}
