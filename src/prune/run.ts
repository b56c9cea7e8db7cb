// A prepared run: what `prune` will do to a model, decided before any weight is read. A plan of it is printed.
// Options are resolved and plans are made here and nowhere else.
import { bytes, count } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import { shardedBytes } from '../formats/safetensors.ts'
import type { Allocated } from '../method/allocate/allocate.ts'
import { leastSparsity } from '../method/least-sparsity.ts'
import type { Method } from '../method/method.ts'
import { methodOf } from '../method/method-text.ts'
import type { Widths } from '../model/half-block.ts'
import type { Model } from '../model/model.ts'
import { DEFAULT_METHOD } from '../options/defaults.ts'
import { type PruneOptions, type ResolvedOptions, resolveOptions } from '../options/options.ts'
import { makePlan, type OutputBytes, type Plan } from '../options/plan.ts'
import { planNotices } from '../result/notices.ts'
import type { Trial } from '../result/result.ts'
import { type CalibrationInput, type CalibrationSource, calibrationSource, writesText } from '../text/calibration.ts'

export interface PreparedRun {
  readonly model: Model
  readonly options: ResolvedOptions
  readonly method: Method
  readonly calibration: CalibrationInput
  /** What `calibration` is. */
  readonly source: CalibrationSource
  readonly bytesOf: OutputBytes
  readonly plan: Plan
  /** Whether the widths of layers are as small as asked for. Undefined where no size is. */
  readonly fits?: (widths: readonly Widths[]) => boolean
  /** Runs before it, where `maxLoss` is asked for. */
  readonly trials?: readonly Trial[]
  /** What the user should know before it runs. */
  readonly notices: readonly string[]
}

/**
 * Decides how `model` is pruned.
 * @param calibration windows or texts. @default the model writes its own text
 * @param bytesOf what `size` is of. @default the weights of the folder
 * @example prune(prepare(describeModel(checkpoint), { sparsity: 0.2 }), { engine, sink })
 * @throws UsageError for options that make no sense, or not on this model; UnsupportedModelError
 */
export function prepare(
  model: Model,
  options: PruneOptions,
  calibration: CalibrationInput = {},
  bytesOf: OutputBytes = ({ tensors }) => shardedBytes(tensors),
): PreparedRun {
  const method = methodOf(options.method ?? DEFAULT_METHOD)
  const resolved = resolveOptions({ ...options, method }, model.architecture, calibration)
  const source = calibrationSource(calibration)
  const plan = makePlan(model, resolved, writesText(calibration), bytesOf)
  const asked = { model, options: resolved, method, calibration, source, bytesOf, plan, notices: [] }
  const run = smallEnough(asked)
  return { ...run, notices: planNotices(model, run.options, source, run.plan) }
}

/** The run at the least sparsity that reaches the size. @throws UsageError where none does, or nothing needs to go */
function smallEnough(run: PreparedRun): PreparedRun {
  const { size, parameters = size, method } = run.options
  if (parameters === undefined) return run
  const of = ({ sizes }: Plan) => (size ? sizes.weightBytes.after : sizes.parameters.effective)
  const show = (n: number) => (size ? `${bytes(n)} (${n.toLocaleString('en-US')} bytes)` : `${count(n)} parameters`)
  const meets = (plan: Plan) => of(plan) <= parameters
  if (meets(run.plan))
    throw new UsageError(
      `${show(parameters)}: it is smaller already, ${show(of(run.plan))} without pruning. Ask for less.`,
    )
  const at = (sparsity: number) => withSparsity(run, sparsity)
  const { below, least } = leastSparsity(sparsity => meets(at(sparsity).plan))
  if (least === undefined)
    throw new UsageError(
      `${show(parameters)} cannot be reached: the least that method ${method} makes is ${show(of(at(below).plan))}, ` +
        `at sparsity ${below}; without pruning it is ${show(of(run.plan))}. Ask for more, or use another method.`,
    )
  const found = at(least)
  return { ...found, fits: widths => meets(withWidths(found, { widths }).plan) }
}

/**
 * Before there is a model, which may have to be fetched: refuses what is wrong on any.
 * Lengths, whose range is the model's, are left to `prepare`.
 * @throws UsageError as `prepare`
 */
export function checkOptions({ seqLen, ...options }: PruneOptions, calibration: CalibrationInput = {}): void {
  resolveOptions(options, undefined, calibration)
}

/** The run with the plan of what allocation gave: each layer its widths, and the layers that go. */
export const withWidths = (run: PreparedRun, allocated?: Allocated): PreparedRun => ({
  ...run,
  plan: makePlan(run.model, run.options, writesText(run.calibration), run.bytesOf, allocated),
})

export const withSparsity = (run: PreparedRun, sparsity: number): PreparedRun =>
  withWidths({ ...run, options: { ...run.options, sparsity } })
