// Log-likelihoods of continuations: Σ log p(token | all before it) over the last tokens of a sequence, for many sequences at once.
// Those of one question share what they have in common (branches.ts), questions of similar length go through the layers
// together, and each layer's weights are read once for all of them, or once a trip where their hidden states would take too much memory.
import { NumericError } from '../base/errors.ts'
import type { Progress } from '../base/events.ts'
import { rowsOf, values } from '../engine/values.ts'
import type { Context } from '../forward/context.ts'
import { Head, headRows } from '../forward/head.ts'
import { TokenLosses } from '../forward/losses.ts'
import { HalfBlockRunner } from '../forward/runner.ts'
import type { Stream } from '../forward/stream.ts'
import { layersOf } from '../model/architecture.ts'
import type { Model } from '../model/model.ts'
import { type BranchedWindow, batchWindows, branch, embedBranched, lengthOf, rowOf } from './branches.ts'
import { STREAM_BYTES } from './perplexity.ts'

/** A sequence of tokens, the last `targets` of which are scored. Where it is longer than the model's context, its beginning is dropped. */
export interface Continuation {
  readonly ids: Int32Array
  readonly targets: number
}

/** Continuations in one window, and where the results of each go. */
interface Scored {
  readonly window: BranchedWindow
  readonly continuations: readonly (Continuation & { readonly question: number; readonly choice: number })[]
}

/**
 * Log-likelihoods in nats: for each question, one a continuation.
 * @throws NumericError where the model gives NaN
 */
export async function* logLikelihoods(
  context: Context,
  model: Model,
  questions: readonly (readonly Continuation[])[],
): Progress<number[][]> {
  const { hiddenSize, maxPositions, halves } = model.architecture
  const layers = layersOf(model.architecture)
  // A branch's window would be that of its place, not of its position.
  const slides = halves.some(half => half.kind === 'attention' && (half.window ?? maxPositions) < maxPositions)
  const windows = questions
    .flatMap((continuations, question) => layOut(continuations, question, maxPositions, !slides))
    .sort((a, b) => b.window.ids.length - a.window.ids.length)
  const trips = splitTrips(windows, hiddenSize)
  yield { type: 'phase', phase: 'tasks', total: trips.length * layers, unit: 'layers' }
  const results = questions.map(continuations => continuations.map(() => 0))
  for (const [trip, some] of trips.entries()) {
    const batches = batchWindows(some.map(({ window }) => window))
    const runner = new HalfBlockRunner(context.engine, some[0].window.ids.length)
    const stream = await embedBranched(context, model, runner, batches)
    for await (const layer of stream.throughLayers(model))
      yield { type: 'progress', done: trip * layers + layer + 1, tokens: stream.tokens }
    const starts = batches.flatMap(batch => batch.members.map((_, w) => batch.start + w * lengthOf(batch)))
    const placed = some.map((one, w) => ({ ...one, start: starts[w] }))
    await score(model, stream, placed, results)
  }
  if (results.flat().some(Number.isNaN))
    throw new NumericError(`${model.checkpoint.name}: the model gives NaN; its weights are damaged.`)
  return results
}

/** One window where the continuations have a beginning in common and fit together; or else one for each. */
function layOut(all: readonly Continuation[], question: number, maxPositions: number, share: boolean): Scored[] {
  const continuations = all.map(({ ids, targets }, choice) => ({
    ids: ids.slice(-(maxPositions + 1)),
    targets,
    question,
    choice,
  }))
  const inputs = continuations.map(({ ids }) => ids.subarray(0, -1))
  const window = branch(inputs)
  if (share && window.trunk > 0 && window.ids.length <= maxPositions) return [{ window, continuations }]
  return continuations.map((one, i) => ({ window: branch([inputs[i]]), continuations: [one] }))
}

/** Hidden states, and what hides branches from each other, take `4 · length · (d + length)` bytes a window. */
function splitTrips(windows: readonly Scored[], d: number): Scored[][] {
  const trips: Scored[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const one of windows) {
    const { length } = one.window.ids
    bytes += 4 * length * (d + length)
    if (bytes > STREAM_BYTES) {
      trips.push([])
      bytes = 4 * length * (d + length)
    }
    trips[trips.length - 1].push(one)
  }
  return trips
}

/** Adds up log p of each continuation's targets. @param stream after the last layer @param windows with the row of each one's first token */
async function score(
  model: Model,
  stream: Stream,
  windows: readonly (Scored & { readonly start: number })[],
  results: number[][],
): Promise<void> {
  const { engine, signal } = stream.context
  const rows = await stream.whole()
  const d = model.architecture.hiddenSize
  const losses = new TokenLosses(await Head.open(model, engine))
  const most = headRows(model.architecture)
  const x = values(new Float32Array(most * d), [most, d])
  const targets = new Int32Array(most)
  const owners: { readonly question: number; readonly choice: number }[] = []
  const flush = async () => {
    signal?.throwIfAborted()
    const nll = await losses.of(rowsOf(x, 0, owners.length), targets.subarray(0, owners.length))
    for (const [i, { question, choice }] of owners.entries()) results[question][choice] -= nll[i]
    owners.length = 0
  }
  for (const { window, continuations, start } of windows)
    for (const [branch, one] of continuations.entries())
      for (let t = one.ids.length - one.targets; t < one.ids.length; t++) {
        const row = start + rowOf(window, branch, t - 1)
        x.data.set(rows.subarray(row * d, (row + 1) * d), owners.length * d)
        targets[owners.length] = one.ids[t]
        if (owners.push(one) === most) await flush()
      }
  if (owners.length > 0) await flush()
}
