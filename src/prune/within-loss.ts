// Prunes as far as `maxLoss` allows: trials, which write nothing, find the largest sparsity whose cost on held-out
// windows is within it, and the last run writes. The cost is nearly a power of sparsity: its logarithm is a line over
// that of sparsity, through two trials, or through one with slope 2. All runs share the same windows.
import { TextError, UsageError } from '../base/errors.ts'
import type { Progress } from '../base/events.ts'
import { memoryContext } from '../forward/context.ts'
import { leastSparsity } from '../method/least-sparsity.ts'
import { NOWHERE } from '../output/sink.ts'
import { UNSAVED } from '../output/steps.ts'
import { heldOutCost } from '../result/notices.ts'
import type { PruneResult, Trial } from '../result/result.ts'
import { calibration } from '../text/calibration.ts'
import { type PruneInput, prune } from './prune.ts'
import { type PreparedRun, withSparsity } from './run.ts'

/** Runs before the one that writes, at most. */
const TRIALS = 4
/** What costs at least this part of the bound is near enough, and what is aimed at. */
const NEAR = { least: 0.9, aim: 0.95 }
/** What the first trial removes. */
const FIRST = 0.2
/** Nearer sparsities are not told apart; those that are tried are multiples of the step. */
const RESOLUTION = 1e-3
const STEP = 1e-4

/** `prune`, and with `maxLoss` the search before it. @throws UsageError where the least cut costs more */
export async function* pruneWithinLoss(run: PreparedRun, input: PruneInput): Progress<PruneResult> {
  const { maxLoss } = run.options
  if (maxLoss === undefined) return yield* prune(run, input)
  const { engine, saved = UNSAVED, signal } = input
  engine.inPrecision(run.options.products)
  const windows = yield* saved.step('windows', () =>
    calibration(memoryContext(engine, signal), run.model, run.calibration, run.options),
  )
  if (!windows.heldOut?.length)
    throw new TextError(
      'no window of the calibration text is left to measure the loss on. Give more text, or fewer --windows.',
    )
  const on = { ...run, calibration: { windows } }
  const widths = ({ plan }: PreparedRun) => JSON.stringify([plan.layers.after, plan.widths.after])
  const trials: Trial[] = []
  const known = new Map([[widths(run), 0]])
  const reach = leastSparsity(sparsity => !withSparsity(run, sparsity)).below
  let [within, beyond]: [Trial, Trial] = [
    { sparsity: 0, cost: 0 },
    { sparsity: reach + STEP, cost: Number.POSITIVE_INFINITY },
  ]
  let found: PreparedRun | undefined
  let isNew = true
  while (within.cost < NEAR.least * maxLoss && beyond.sparsity - within.sparsity > RESOLUTION) {
    const sparsity = isNew ? guess(within, beyond, NEAR.aim * maxLoss) : middle(within, beyond)
    const tried = withSparsity(on, sparsity)
    let cost = known.get(widths(tried))
    isNew = cost === undefined
    if (cost === undefined) {
      if (trials.length === TRIALS) break
      yield announced('trial', trials.length + 1, sparsity)
      cost = yield* saved.step(`trial ${sparsity}`, async function* () {
        const trial = prune(tried, { ...input, sink: NOWHERE, statistics: undefined, saved: UNSAVED })
        return heldOutCost((yield* silently(trial)).calibration.texts)!
      })
      known.set(widths(tried), cost)
      trials.push({ sparsity, cost })
      if (cost <= maxLoss && (!found || sparsity > found.options.sparsity)) found = tried
    }
    if (cost <= maxLoss) within = { sparsity, cost }
    else beyond = { sparsity, cost }
  }
  if (!found) {
    const { sparsity, cost } = trials.reduce((least, one) => (one.cost < least.cost ? one : least))
    throw new UsageError(
      `max-loss is ${maxLoss}; at sparsity ${sparsity}, the least that was tried, pruning costs ${cost.toFixed(3)} ` +
        'nats a token. Allow more, or calibrate on more text.',
    )
  }
  yield announced('last run', TRIALS + 1, found.options.sparsity)
  return yield* prune({ ...found, trials }, input)
}

/** At most so many are to come: the last writes. */
const announced = (name: string, number: number, sparsity: number) =>
  ({ type: 'run', name, sparsity, number, total: TRIALS + 1 }) as const

const middle = (within: Trial, beyond: Trial) => round((within.sparsity + beyond.sparsity) / 2)

/** Where the cost is `wanted` by the trials on both sides, or by the only one; the middle where that is not between. */
function guess(within: Trial, beyond: Trial, wanted: number): number {
  const trials = [within, beyond].filter(({ cost }) => cost > 0 && cost < Number.POSITIVE_INFINITY)
  const [from, to] = trials
  if (!from) return within.sparsity === 0 ? Math.min(FIRST, middle(within, beyond)) : middle(within, beyond)
  const power = to ? Math.log(to.cost / from.cost) / Math.log(to.sparsity / from.sparsity) : 2
  const sparsity = round(from.sparsity * (wanted / from.cost) ** (1 / power))
  return sparsity > within.sparsity && sparsity < beyond.sparsity ? sparsity : middle(within, beyond)
}

const round = (sparsity: number) => Math.round(sparsity * 1e4) / 1e4

/** Without what is said of the result, which is another's. */
async function* silently<T>(events: Progress<T>): Progress<T> {
  try {
    for (;;) {
      const { done, value } = await events.next()
      if (done) return value
      if (value.type === 'phase' || value.type === 'progress') yield value
    }
  } finally {
    await events.return?.(undefined as T) // a caller that stopped listening
  }
}
