// `heal` in Node: a pruned model and the one it was pruned from → a folder of that layout, nearer to the dense model.
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { baseName, isGgufFile } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import { notice, type Progress } from '../base/events.ts'
import { isJsonObject, type JsonObject } from '../base/json.ts'
import { VERSION } from '../base/version.ts'
import { jsonFile, type SideFile } from '../checkpoint/checkpoint.ts'
import { hashModel } from '../checkpoint/hash-model.node.ts'
import { healedOn, prunedFrom } from '../checkpoint/pruning-record.ts'
import { fewLogits } from '../evaluate/few-logits.ts'
import { memoryContext } from '../forward/context.ts'
import { checkHealed } from '../heal/heal.ts'
import {
  AS_IT_IS,
  checkHealing,
  type HealingOptions,
  healing,
  healingBytes,
  keptBytes,
  keptNotice,
  sizesOf,
  trainingOf,
} from '../heal/healing.node.ts'
import { openCheckpoint } from '../hub/open.node.ts'
import { describeModel, type Model } from '../model/model.ts'
import { checkOutput, OWN_MARK } from '../output/place.node.ts'
import { openResumable } from '../output/resumable.node.ts'
import { committed, writeFile } from '../output/sink.ts'
import { identityHere } from '../output/state.node.ts'
import { savedByAll, together } from '../output/state-ranks.ts'
import type { Saved } from '../output/steps.ts'
import { ALONE, type Group } from '../ranks/group.ts'
import { checkSame } from '../ranks/option-check.ts'
import { healedCard, modelCard } from '../result/card.ts'
import type { HealRecord, Recipe } from '../result/result.ts'
import {
  type CalibrationInput,
  calibration,
  calibrationSource,
  type NamedText,
  textsOrWindows,
} from '../text/calibration.ts'
import { hashWindows } from '../text/hash-windows.node.ts'
import type { Windows } from '../text/windows.ts'
import { withVocabularyOf } from '../vocabulary/same-vocabulary.ts'
import { writeExports } from '../write/export.node.ts'
import { planExport } from '../write/targets.ts'
import { checkMemory } from './memory.node.ts'
import { checkOwnText } from './own-text.node.ts'
import { choose, type EngineChoice, nodeVerbs, openTexts, type TextInput } from './platform.node.ts'
import { recorded } from './recipe.node.ts'
import { nameOf } from './verbs.ts'

export interface HealOptions extends HealingOptions, EngineChoice {
  /** The model that it was pruned from: folder, `.gguf` file, name on the Hub, or open. */
  readonly dense: string | Model
  /** Folder to write. */
  readonly output: string
  /** Replace an output that an earlier run wrote. @default false */
  readonly overwrite?: boolean
  /**
   * Texts, text files (.txt, .jsonl, .parquet, .gz of these) or data sets, in equal shares; or windows of ids of the
   * pruned model, some of them held out. @default self, which the model writes
   */
  readonly calibration?: readonly TextInput[] | Windows
  /**
   * Texts of another kind to find the best step by, given as `calibration` is; none of them is healed on.
   * @default windows of the same texts, which are left out
   */
  readonly measureOn?: readonly TextInput[]
  /**
   * Go on from the last step that a run into this output has saved which was stopped, to the same bytes. It is refused
   * where that had other options, texts, models, engine or version. @default false
   */
  readonly resume?: boolean
  /** Seconds between two savings of the state that `resume` goes on from, at least; 0: after each step. @default 15 */
  readonly saveEvery?: number
  /**
   * The processes of `openGroup` that do this together: each has a part of the windows, all have the same options. The
   * root writes; the others read the same and get the same result (docs/distributed.md). @default this one alone
   */
  readonly group?: Group
}

/** What `heal` gives. */
export interface HealResult extends HealRecord {
  /** As it was given. */
  readonly output: string
  /** Bytes of the dense model's probabilities, in memory or a scratch file. */
  readonly cacheBytes: number
  readonly seconds: number
}

export async function* healEvents(source: string | Model, options: HealOptions): Progress<HealResult> {
  const { output, overwrite = false, signal, seed = 0, resume = false, group = ALONE, products } = options
  check(options)
  if (resume && (typeof source !== 'string' || typeof options.dense !== 'string'))
    throw new UsageError('only a run of two paths has a state to resume from. Give both models as paths.')
  const isRoot = group.rank === 0
  const inputs = [nameOf(source), nameOf(options.dense)]
  if (isRoot) await checkOutput(output, overwrite, inputs)
  const { windows: made, texts: named } = textsOrWindows(options.calibration)
  const texts = named && (yield* openTexts(named, 'calibration', { signal }))
  const input: CalibrationInput = { windows: made, texts }
  const others = options.measureOn ?? []
  const measured = others.length > 0 ? yield* openTexts(others, 'calibration', { signal }) : undefined
  checkOthers(measured, texts)
  await using chosen = choose(options)
  const { facts } = chosen.engine.inPrecision(products) // refuses what this machine lacks
  await using model = yield* nodeVerbs.openModel(source, { signal })
  await using whole = yield* nodeVerbs.openModel(options.dense, { signal })
  const { engine } = chosen
  const dense = withVocabularyOf(whole, model)
  checkHealed(model, dense)
  const training = trainingOf(options, model)
  const size = sizesOf(options, { ...input, measured }, [model, dense])
  const heldOut = size.heldOut * (measured ?? texts ?? [made]).length
  const need = healingBytes(model, dense, options, size, heldOut)
  checkMemory('heal', model.checkpoint.name, need.memory, engine.facts.threads)
  for (const calibration of [input, ...(measured ? [{ texts: measured }] : [])])
    checkOwnText({ model: dense, options: size, calibration })

  const started = performance.now()
  const asked = {
    ...{ ...size, ...training, seed, every: options.every, calibration: named && recorded(named, texts!) },
    measureOn: measured && recorded(others, measured),
  }
  const windows = made && hashWindows(made)
  const configs = [model, dense].map(({ checkpoint }) => checkpoint.config)
  await checkSame(group, { fasp: VERSION, models: configs, ...asked, calibrationWindows: windows, output })
  const heals = async function* (saved: Saved, write: (healed: Model, record: HealRecord) => Progress<void>) {
    const memory = memoryContext(engine, signal)
    const own = yield* saved.step('calibration', async function* () {
      if (!measured) return yield* calibration(memory, dense, input, { ...size, seed })
      const windows = yield* calibration(memory, dense, input, { ...size, heldOut: 0, seed })
      const apart = { ...size, windows: heldOut, heldOut: 0, seed: seed + 1 } // other text than it is healed on
      const { windows: to, texts } = yield* calibration(memory, dense, { texts: measured }, apart)
      return { ...windows, heldOut: to, measuredOn: texts }
    })
    const given = { ...(await group.decide(() => own)), source: calibrationSource(input) }
    const cacheBytes = keptBytes(dense, options, size, given)
    yield keptNotice(options, cacheBytes)
    const on = { engine, output: isRoot ? output : join(tmpdir(), 'fasp'), saved, signal, group }
    return yield* healing(on, model, dense, given, { ...options, ...size }, async function* (healed, record) {
      yield* write(healed, record)
      return { ...record, output, cacheBytes, seconds: (performance.now() - started) / 1000 }
    })
  }
  if (!isRoot) return yield* heals(await savedByAll(group), async function* () {})
  const run = await runIdentity()
  if (resume && !run) throw new UsageError('resume goes by hashes: texts without sha256 have none.')
  const expectedBytes = planExport(model, AS_IT_IS).bytes + need.scratch
  const expected =
    need.scratch > 0 ? 'the output with what does not fit --memory (fewer --windows take less)' : undefined
  const opened = { inputs, expectedBytes, expected }
  const resuming = { run, resume, every: options.saveEvery, engine }
  const { sink, saved, notices } = await openResumable(output, overwrite, opened, resuming)
  return yield* committed(sink, async function* () {
    for (const message of notices) yield notice(message)
    await savedByAll(group, saved)
    const write = async function* (healed: Model, record: HealRecord) {
      const context = { open: openCheckpoint, engine, apart: false, signal }
      yield* writeExports(healed, [AS_IT_IS], sink, context)
      await using written = await openCheckpoint(sink.pending)
      const logits = await fewLogits(memoryContext(engine, signal), describeModel(written))
      const recipe = healedRecipe(model, record)
      await writeFile(sink, jsonFile(OWN_MARK, { ...recipe, logits }))
      await writeFile(sink, cardOf(dense, model, recipe))
    }
    return yield* together(saved, group, () => heals(saved, write))
  })

  /** What goes on to the same bytes; undefined where that is not to be told. Memory changes none. */
  async function runIdentity(): Promise<JsonObject | undefined> {
    const [own, its] = [model, dense].map(({ checkpoint }) => checkpoint.path)
    const texts = [...(asked.calibration ?? []), ...(asked.measureOn ?? [])]
    if (!own || !its || texts.some(text => !text.sha256)) return undefined
    const hashes = { model: await hashModel(own), dense: await hashModel(its) }
    return identityHere({ healing: hashes, ...asked, calibrationWindows: windows }, facts)
  }
}

/** @throws UsageError where a text to measure on is healed on, too */
function checkOthers(measured: readonly NamedText[] = [], texts: readonly NamedText[] = []): void {
  const both = measured.find(({ own, sha256 }) => !own && texts.some(text => text.sha256 === sha256 && sha256))
  if (both)
    throw new UsageError(`${both.name} is to be measured on, and healed on, too. Leave it out of one of the two.`)
}

/** All of this before a long download. */
function check(options: HealOptions): void {
  const { output } = options
  if (isGgufFile(output) || /\.(onnx|safetensors)$/i.test(output))
    throw new UsageError(
      `${output}: a healed model is a folder. Name one: -o <folder>; fasp export makes a .gguf of it, or ONNX.`,
    )
  checkHealing(options)
}

type Healed = JsonObject & { readonly healed: HealRecord }

/** Says how it was pruned, too, where `fasp.json` has all of that. */
function cardOf(dense: Model, { architecture, checkpoint }: Model, recipe: Healed): SideFile {
  const { source, options, sizes, widths, calibration } = recipe
  const whole = [source, options, sizes, widths, calibration].every(isJsonObject)
  if (!whole || !prunedFrom(checkpoint)) return healedCard(dense, recipe.healed)
  return modelCard({ checkpoint: dense.checkpoint, architecture }, recipe as unknown as Recipe)
}

/** `fasp.json` of the healed model: what it said, or the keys of a GGUF file, without what is no longer so. */
function healedRecipe({ checkpoint, architecture }: Model, record: HealRecord): Healed {
  const { name, format, recipe } = checkpoint
  const { files: _, logits: __, exports: ___, ...said } = recipe ?? {}
  const pruned = prunedFrom(checkpoint)
  const { source = baseName(name), hubId, method, sparsity } = pruned ?? {}
  const written = { source: { name: source, hubId, format, modelType: architecture.modelType } }
  const known = recipe ? said : { ...written, ...(pruned && { options: { method, sparsity } }) }
  const tokens = (healedOn(checkpoint) ?? 0) + record.tokens
  return { schema: 1, fasp: VERSION, ...written, ...known, healed: { ...record, tokens } }
}
