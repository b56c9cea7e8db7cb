// What the threads of a process know of the other ranks' (heartbeat.node.ts): memory that they share, with one number, so that one of them alone
// says who is missing.
import { AbsentError } from './waiting.ts'

/** Name of the channel (nodejs.org/api/diagnostics_channel.html) on which a group says where it writes who is missing: a `Missing`. */
export const HEARTBEAT = 'fasp:heartbeat'

/** Milliseconds from one beat to the next. */
export const BEAT = 1000
/** Beats that fail to come in a row until a process is taken for stopped: more than a loaded machine lets its threads wait. */
export const SILENT = 6
/** As many more from one rank to the next, where it is the root that is missing, for so many of them: the first says so, and ends all. */
const TURN = 2
const TURNS = 3

/**
 * Of a rank its number, size of the group, and in shared memory 1 + the rank that is missing; 0 for none, -1 where a thread has taken that up,
 * or the root, which says so to all.
 */
export interface Missing {
  readonly rank: number
  readonly size: number
  readonly state: Int32Array<SharedArrayBuffer>
}

export const nobodyMissing = (rank: number, size: number): Missing => ({
  ...{ rank, size },
  state: new Int32Array(new SharedArrayBuffer(4)),
})

/** Beats of the others that a rank lets pass. */
export const silentBeats = (rank: number): number => SILENT + TURN * Math.min(TURNS, Math.max(0, rank - 1))

/** Whether one is, said or not. */
export const isMissing = ({ state }: Missing): boolean => Atomics.load(state, 0) !== 0

/** @returns what is wrong, once: whoever asks first has to say it */
export function takeMissing({ rank, size, state }: Missing): AbsentError | undefined {
  const found = Atomics.load(state, 0)
  if (found <= 0 || Atomics.compareExchange(state, 0, found, -1) !== found) return undefined
  const seconds = (silentBeats(rank) * BEAT) / 1000
  return new AbsentError(
    found - 1,
    size,
    `its process gives no sign of life for ${seconds} s: it was stopped, or its machine or network is gone. ` +
      '--resume goes on from what was saved; --mpi-timeout 0 waits without end.',
  )
}
