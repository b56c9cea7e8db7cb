// A prepared run: what `prune` will do to a model, decided once, before any weight is read. A plan of it is printed, and `prune` runs it.
// Options are resolved and plans are made here and nowhere else.
import type { Allocated } from './allocate/allocate.ts'
import { methodOf, type Own } from './method.ts'
import type { Model } from './model/model.ts'
import { planNotices } from './notices.ts'
import { DEFAULT_METHOD, type PruneOptions, type ResolvedOptions, resolveOptions } from './options.ts'
import { makePlan, type Plan } from './plan.ts'
import { type CalibrationInput, type CalibrationSource, calibrationSource } from './text/calibration.ts'

export interface PreparedRun {
  readonly model: Model
  readonly options: ResolvedOptions
  /** What its method has of functions. */
  readonly own: Own
  readonly calibration: CalibrationInput
  /** What `calibration` is. */
  readonly source: CalibrationSource
  readonly plan: Plan
  /** What the user should know before it runs. */
  readonly notices: readonly string[]
}

/**
 * Decides how `model` is pruned.
 * @param calibration windows or texts. @default the model writes its own text
 * @example prune(prepare(describeModel(checkpoint), { sparsity: 0.2 }), { engine, sink })
 * @throws UsageError for options that make no sense, or not on this model; UnsupportedModelError where it cannot be pruned
 */
export function prepare(model: Model, options: PruneOptions, calibration: CalibrationInput = {}): PreparedRun {
  const method = methodOf(options.method ?? DEFAULT_METHOD)
  const resolved = resolveOptions({ ...options, method }, model.architecture, calibration)
  const source = calibrationSource(calibration)
  const plan = makePlan(model, resolved, source)
  const notices = planNotices(model, resolved, source, plan)
  return { model, options: resolved, own: method.own, calibration, source, plan, notices }
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
export const withWidths = (run: PreparedRun, allocated: Allocated): PreparedRun => ({
  ...run,
  plan: makePlan(run.model, run.options, run.source, allocated),
})
