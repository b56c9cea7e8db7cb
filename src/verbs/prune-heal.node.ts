// `heal` of `prune`: pruning writes a folder in the unfinished output, and healing goes from there to the output. The
// dense model is the one that is open; healing reads the texts that were calibrated on.
import { existsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ByteSource } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { isGgufFile } from '../base/display.ts'
import { FormatError, NumericError, UsageError } from '../base/errors.ts'
import type { Phase, Progress } from '../base/events.ts'
import { jsonFile } from '../checkpoint/checkpoint.ts'
import { hashModel } from '../checkpoint/hash-model.node.ts'
import type { Engine } from '../engine/engine.ts'
import { openFile } from '../formats/file.node.ts'
import { memoryContext } from '../forward/context.ts'
import {
  AS_IT_IS,
  checkHealing,
  type HealingBytes,
  type HealingOptions,
  type HealingSizes,
  healing,
  healingBytes,
  keptBytes,
  keptNotice,
  NONE_HELD_OUT,
  sizesOf,
  trainingNotices,
} from '../heal/healing.node.ts'
import { openCheckpoint } from '../hub/open.node.ts'
import { describeModel, type Model } from '../model/model.ts'
import { checkGiven } from '../options/call-check.ts'
import { HEAL_DEFAULTS } from '../options/defaults.ts'
import { takenBy } from '../options/verbs.ts'
import type { FolderSink } from '../output/folder.node.ts'
import { OWN_MARK, pendingOf } from '../output/place.node.ts'
import { writeFile } from '../output/sink.ts'
import { savedByAll, together } from '../output/state-ranks.ts'
import { type Saved, savedBy } from '../output/steps.ts'
import type { PruneInput } from '../prune/prune.ts'
import type { PreparedRun } from '../prune/run.ts'
import { ALONE, type Group } from '../ranks/group.ts'
import type { HealRecord, PruneResult } from '../result/result.ts'
import { calibration } from '../text/calibration.ts'
import type { Windows } from '../text/windows.ts'
import { writeExports } from '../write/export.node.ts'
import { plannedModel } from '../write/targets.ts'
import { sendFiles } from './send-files.node.ts'
import { pruneWithCard } from './verbs.ts'

/** Where the pruned model is until it is healed, in the unfinished output. */
export const PRUNED = 'pruned/'

/** The file of weights that a run of this process writes for `output`, for `writeSoFar`. Undefined before it is there. */
export async function pendingWeights(output: string): Promise<ByteSource | undefined> {
  const pending = await pendingOf(output)
  const path = pending && join(pending, isGgufFile(output) ? PRUNED : '', 'model.safetensors')
  return path && existsSync(path) ? openFile(path) : undefined
}

/** Healing after pruning, where it differs from `heal`. Texts, windows and the seed are those of pruning. */
export type HealChoice = Pick<HealingOptions, 'tokens' | 'lr' | 'train' | 'rank' | 'top'>

const { tokens, lr, train, rank, top } = takenBy('heal', 'node')
const CHOICE = { called: 'heal', options: { tokens, lr, train, rank, top } }

/** What `heal` of `prune` says; undefined where nothing is healed. @throws UsageError */
export function healChoice(heal: number | boolean | HealChoice | undefined): HealChoice | undefined {
  if (heal === undefined || heal === false) return undefined
  const choice = heal === true ? {} : typeof heal === 'number' ? { tokens: heal } : heal
  checkGiven(choice, CHOICE)
  checkHealing(choice)
  return choice
}

/** What healing will take after pruning. */
export interface HealingPlan {
  readonly choice: HealChoice
  readonly sizes: HealingSizes
  readonly bytes: HealingBytes
  /** Those that healing begins with. */
  readonly notices: readonly string[]
}

/**
 * By the options as they are resolved, which a recipe has.
 * @param texts that are calibrated on
 * @throws UsageError where nothing is held out to measure on
 */
export function planHealing(
  { model, options, plan, source, calibration: { windows: made } }: PreparedRun,
  choice: HealChoice,
  texts = 1,
): HealingPlan {
  const pruned = plannedModel(model, plan, options)
  const tokens = choice.tokens ?? (made ? undefined : HEAL_DEFAULTS.tokens)
  const { seqLen } = options
  const found = sizesOf({ tokens, seqLen }, { windows: made, texts: { length: texts } }, [pruned, model])
  // What the model wrote is healed on again and again: writing takes as long as healing.
  const { windows, heldOut } = source === 'self' ? options : found
  const sizes = { ...found, windows, heldOut: source === 'texts' ? Math.max(heldOut, options.heldOut) : heldOut }
  if (sizes.heldOut === 0) throw new UsageError(NONE_HELD_OUT)
  const held = source === 'texts' ? sizes.heldOut * texts : sizes.heldOut
  const { memory } = options
  const bytes = healingBytes(pruned, model, { ...choice, memory }, sizes, held)
  return { choice, sizes, bytes, notices: trainingNotices(choice, pruned) }
}

/** What `healPruned` takes from the run around it. */
interface Around {
  readonly engine: Engine
  readonly sink: FolderSink
  /** The output is one file, and the healed folder goes with all else. */
  readonly single: boolean
  readonly output: string
  readonly saved: Saved
  readonly clock: Clock<Phase>
  readonly signal?: AbortSignal
  readonly group?: Group
}

/** In which all is pruned. */
const STEP = 'pruned'

/** Of a rank beside the root, which heals: prunes by `pruning`, unless an earlier run has come so far. */
async function* prunedBeside(saved: Saved, pruning: () => Progress<PruneResult>): Progress<PruneResult> {
  const doing = async () => {
    throw new Error('it is done')
  }
  return saved.has(STEP) ? (yield* saved.step<{ result: PruneResult }>(STEP, doing)).result : yield* pruning()
}

/**
 * Prunes by `pruneInto`, and heals that.
 * @param pruneInto writes to `PRUNED`; its steps are to be those of the first argument
 * @returns with how it was healed; `at`: folder of the healed model in the sink
 */
export async function* healPruned(
  run: PreparedRun,
  plan: HealingPlan,
  { engine, sink, single, output, saved, clock, signal, group }: Around,
  pruneInto: (saved: Saved) => Progress<PruneResult>,
): Progress<{ readonly result: PruneResult & { readonly healed: HealRecord }; readonly at: string }> {
  const { model, options, source, calibration: input } = run
  const path = join(sink.pending, PRUNED)
  let own: Windows | undefined // that were calibrated on
  const kept = savedBy(saved, async function* (name, doing) {
    const value = yield* saved.step(name, doing)
    if (name === 'calibration') own = value as Windows
    return value
  })
  const pruned = yield* saved.step(STEP, async function* () {
    const result = yield* pruneInto(kept)
    saved.holds() // its streams are closed
    return { result, own: source === 'texts' ? undefined : own, sha256: await hashModel(path) }
  })
  if (saved.has(STEP) && (await hashModel(path)) !== pruned.sha256)
    throw new FormatError(path, 'is not what was written. The state of the earlier run is damaged: remove its folder')
  clock.start('heal')
  const memory = memoryContext(engine, signal)
  const texts = () => calibration(memory, model, input, { ...plan.sizes, seed: options.seed })
  const windows = pruned.own ?? (yield* saved.step('text to heal on', texts))
  yield keptNotice(plan.choice, keptBytes(model, plan.choice, plan.sizes, windows))
  const folder = single ? `${AS_IT_IS.to}/` : ''
  const on = { engine, output, saved, signal, group }
  const healed = yield* healSent(run, plan, on, { windows, path }, async function* (of, recipe) {
    yield* writeExports(of, [AS_IT_IS], sink, { open: openCheckpoint, engine, apart: single, signal })
    await writeFile(sink, jsonFile(`${folder}${OWN_MARK}`, recipe))
  })
  clock.stop()
  return { result: { ...pruned.result, healed }, at: folder }
}

/** Prunes without what the root does beside, and heals with it where that is planned. */
export async function* pruneBeside(
  run: PreparedRun,
  plan: HealingPlan | undefined,
  input: PruneInput & { readonly group: Group },
): Progress<PruneResult> {
  const { engine, group, signal } = input
  const saved = await savedByAll(group)
  const pruning = () => pruneWithCard(run, { ...input, saved, heals: plan !== undefined })
  const result = yield* prunedBeside(saved, pruning)
  if (!plan) return result
  const on = { engine, output: join(tmpdir(), 'fasp'), saved, signal, group }
  return { ...result, healed: yield* healSent(run, plan, on, {}, async function* () {}) }
}

/** Heals a folder of the root. @param pruned the folder, and the text @param write also gets the `fasp.json` */
async function* healSent(
  { model, options, source }: PreparedRun,
  { choice, sizes }: HealingPlan,
  on: Omit<Around, 'sink' | 'single' | 'clock'>,
  pruned: { readonly windows?: Windows; readonly path?: string },
  write: (healed: Model, recipe: object) => Progress<void>,
): Progress<HealRecord> {
  const { group = ALONE, output } = on
  const windows = await group.decide(() => pruned.windows!)
  await using folder = await sendFiles(group, pruned.path)
  await using checkpoint = await openCheckpoint(folder.path)
  const { memory, seed, products } = options
  const settings = { ...choice, ...sizes, memory, seed, products }
  const unhealed = describeModel({ ...checkpoint, name: output })
  const writing = async function* (of: Model, record: HealRecord) {
    yield* write(of, { ...checkpoint.recipe, healed: record })
    return record
  }
  const heals = () => healing(on, unhealed, model, { ...windows, source }, settings, writing)
  return yield* withoutHealing(together(on.saved, group, heals))
}

/** Says what else there is to do where nothing is gained. */
async function* withoutHealing<T>(events: Progress<T>): Progress<T> {
  try {
    return yield* events
  } catch (error) {
    if (!(error instanceof NumericError)) throw error
    throw new NumericError(`${error.message} Leave out heal, and the model is written as it was pruned.`, {
      cause: error,
    })
  }
}
