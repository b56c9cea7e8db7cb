// `prune` in a page: into a sink.
import { UsageError } from '../base/errors.ts'
import type { Progress } from '../base/events.ts'
import type { JsonObject } from '../base/json.ts'
import { MANIFEST } from '../base/unfinished.ts'
import type { WebSource } from '../checkpoint/open.web.ts'
import type { Engine } from '../engine/engine.ts'
import type { FetchOptions } from '../formats/source.web.ts'
import type { PruneOptions, ResolvedOptions } from '../options/options.ts'
import type { Plan } from '../options/plan.ts'
import type { Scratch } from '../output/activations.ts'
import type { Sink } from '../output/sink.ts'
import { identityOf, readState, State } from '../output/state.ts'
import type { StateFolder } from '../output/state-folder.ts'
import type { Saved } from '../output/steps.ts'
import { checkOptions, type PreparedRun, prepare } from '../prune/run.ts'
import type { PruneResult } from '../result/result.ts'
import { type NamedText, textsOrWindows } from '../text/calibration.ts'
import type { Windows } from '../text/windows.ts'
import { checkGiven, type WebOptions, webOpening } from './platform.web.ts'
import { type Given, type PreparedPrune, preparedPrune, pruneWithCard } from './verbs.ts'

export interface PlanInPageOptions extends PruneOptions, FetchOptions {
  /** Texts, in equal shares, of which a `File` is one; or windows. @default the model writes its own text */
  readonly calibration?: readonly NamedText[] | Windows
}

/** What `prune` would do. */
export interface PlanInPage extends Plan {
  readonly options: ResolvedOptions
  /** What the user should know before it runs. */
  readonly notices: readonly string[]
}

export interface PruneInPageOptions extends PlanInPageOptions, WebOptions {
  /** Where the files go: a `MemorySink`, or one of your own. */
  readonly output: Sink
  /** Opens a file for activations beyond `memory`, as of the origin-private file system. @default they are in memory */
  readonly openScratch?: () => Promise<Scratch>
  /**
   * Save the run in a folder, and go on from what is there, to the same bytes. `output` must have `file`, and what was
   * written to it. Refused for other options, another engine or version. When the run has ended, the caller removes the
   * folder. @default nothing is saved
   */
  readonly saved?: SavedInPage
}

export interface SavedInPage {
  /** Such as one of the origin-private file system. */
  readonly folder: StateFolder
  /** What else tells the run from others: hashes of the model and of the calibration, the browser. */
  readonly of: JsonObject
  /** Seconds between two savings, at least; 0: after each half-block. @default 15 */
  readonly every?: number
}

export async function* planPruneEvents(
  source: Given<WebSource>,
  { calibration, fetch, signal, ...options }: PlanInPageOptions,
): Progress<PlanInPage> {
  await using model = yield* webOpening.openModel(source, { fetch, signal })
  const run = prepare(model, options, textsOrWindows(calibration))
  return { ...run.plan, options: run.options, notices: run.notices }
}

export async function* prepareEvents(
  source: Given<WebSource>,
  options: PruneInPageOptions,
): Progress<PreparedPrune<PruneResult>> {
  const { output: sink, calibration, engine, fetch, signal, openScratch, saved: saving, ...pruneOptions } = options
  const input = textsOrWindows(calibration)
  checkGiven(engine)
  if (saving && !sink.file)
    throw new UsageError('saved needs an output whose files another run can go on with (file), as those of a disk.')
  checkOptions(pruneOptions, input) // before a long download
  const model = yield* webOpening.openModel(source, { fetch, signal })
  return preparedPrune(model, () => {
    const run = prepare(model, pruneOptions, input)
    return {
      run,
      async *pruneEvents() {
        const saved = saving && (await openSaved(run, saving, engine))
        return yield* pruneWithCard(run, { engine, sink, signal, openScratch, saved })
      },
    }
  })
}

/** @throws as `readState`; UsageError where functions of the user's are part of the run */
async function openSaved(run: PreparedRun, { folder, of, every }: SavedInPage, engine: Engine): Promise<Saved> {
  if (Object.keys(run.method.own).length > 0)
    throw new UsageError('a run with functions of yours is not saved: they have no hashes. Leave out saved.')
  const { memory: _, ...options } = run.options // it changes no bytes
  const identity = identityOf({ ...of, ...options }, engine.facts)
  const found = (await folder.list()).includes(MANIFEST) ? await readState(folder, identity) : undefined
  return new State(folder, { run: identity, every }, found)
}

export async function* pruneEvents(source: Given<WebSource>, options: PruneInPageOptions): Progress<PruneResult> {
  await using run = yield* prepareEvents(source, options)
  return yield* run.pruneEvents()
}
