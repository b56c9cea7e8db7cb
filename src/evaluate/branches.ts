// Sequences that begin alike, in one window: the common beginning (trunk) once, then the rest of each (a branch). A branch sees the trunk
// and itself; its tokens have the positions that they have in their own sequence. So the choices of one question cost its text once, and
// every sequence gets the hidden states that it would get alone. Windows of similar length go through the layers together, shorter ones
// with padding at their end, which causal attention hides.
import { constant, values } from '../engine/engine.ts'
import type { Context } from '../forward/context.ts'
import { openEmbedding, readTokenRows } from '../forward/embed.ts'
import type { Branches, HalfBlockRunner } from '../forward/runner.ts'
import { Stream, TOKENS_PER_RUN } from '../forward/stream.ts'
import type { Model } from '../model/model.ts'
import type { Batch } from '../output/activations.ts'

/** Added to the score of a token that must not be seen: its weight is zero. */
const UNSEEN = -1e30

export interface BranchedWindow {
  readonly ids: Int32Array
  /** Tokens of the trunk. */
  readonly trunk: number
  /** Where each branch begins in the window; it ends where the next begins. Empty branches are allowed. */
  readonly starts: readonly number[]
}

/** Lays sequences into one window. */
export function branch(sequences: readonly Int32Array[]): BranchedWindow {
  const [first, ...others] = sequences
  let trunk = first.length
  for (const other of others) {
    let same = 0
    while (same < trunk && other[same] === first[same]) same++
    trunk = same
  }
  const starts: number[] = []
  let end = trunk
  for (const { length } of sequences) {
    starts.push(end)
    end += length - trunk
  }
  const ids = new Int32Array(end)
  ids.set(first.subarray(0, trunk))
  for (const [i, sequence] of sequences.entries()) ids.set(sequence.subarray(trunk), starts[i])
  return { ids, trunk, starts }
}

/** The window's row that holds token number `index` of sequence number `sequence`. */
export const rowOf = ({ trunk, starts }: BranchedWindow, sequence: number, index: number): number =>
  index < trunk ? index : starts[sequence] + index - trunk

/** Windows that go through the layers together, padded to one length. */
export interface BranchedBatch extends Batch {
  readonly members: readonly BranchedWindow[]
}

/** Groups windows, sorted by length, longest first, into batches of at most `TOKENS_PER_RUN` padded tokens, or of one window. */
export function batchWindows(windows: readonly BranchedWindow[]): BranchedBatch[] {
  const batches: BranchedBatch[] = []
  for (let first = 0, start = 0; first < windows.length; ) {
    const { length } = windows[first].ids
    const members = windows.slice(first, first + Math.max(1, Math.floor(TOKENS_PER_RUN / length)))
    const batch = { members, windows: members.length, start, tokens: members.length * length }
    batches.push(batch)
    start += batch.tokens
    first += batch.windows
  }
  return batches
}

/** A stream of embedded windows, in batches. */
export async function embedBranched(
  context: Context,
  model: Model,
  runner: HalfBlockRunner,
  batches: readonly BranchedBatch[],
): Promise<Stream> {
  const padded = batches.map(batch => batch.members.map(({ ids }) => pad(ids, lengthOf(batch))))
  const embedding = await openEmbedding(model, context.engine, await readTokenRows(model, padded.flat()))
  const branched = batches.map(batch => ({ ...batch, branches: branchesOf(batch) }))
  return Stream.open(context, runner, branched, model.architecture.hiddenSize, (_, b) =>
    embedding.embed(padded[b], placesOf(batches[b])),
  )
}

/** Tokens of each window, padding included. */
export const lengthOf = ({ tokens, windows }: Batch): number => tokens / windows

function pad(ids: Int32Array, length: number): Int32Array {
  const padded = new Int32Array(length)
  padded.set(ids)
  return padded
}

/** The position of each token in its own sequence, window by window; 0 for padding. */
function placesOf(batch: BranchedBatch): Int32Array {
  const places = new Int32Array(batch.tokens)
  for (const [w, window] of batch.members.entries()) {
    const first = w * lengthOf(batch)
    for (let row = 0; row < window.trunk; row++) places[first + row] = row
    for (const [start, end] of branchesIn(window))
      for (let row = start; row < end; row++) places[first + row] = window.trunk + row - start
  }
  return places
}

const branchesIn = ({ starts, ids }: BranchedWindow) =>
  starts.map((start, i) => [start, starts[i + 1] ?? ids.length] as const)

/** Undefined where no window branches: then positions and causality are those of any window. */
function branchesOf(batch: BranchedBatch): Branches | undefined {
  const length = lengthOf(batch)
  const forks = batch.members.some(window =>
    branchesIn(window).some(([start, end]) => start > window.trunk && end > start),
  )
  if (!forks) return undefined
  const bias = new Float32Array(batch.windows * length * length)
  for (const [w, window] of batch.members.entries())
    for (const [start, end] of branchesIn(window))
      for (let row = start; row < end; row++) {
        const from = (w * length + row) * length
        bias.fill(UNSEEN, from + window.trunk, from + start)
      }
  return {
    places: values(BigInt64Array.from(placesOf(batch), BigInt), [batch.windows, length]),
    bias: constant(bias, [batch.windows, 1, length, length]),
  }
}
