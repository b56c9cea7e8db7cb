// `prune` in Node: into a folder, a .gguf file or a sink, with exports.
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Clock } from '../base/clock.ts'
import { bytes, isGgufFile } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import { notice, type Phase, type Progress } from '../base/events.ts'
import type { JsonObject } from '../base/json.ts'
import { VERSION } from '../base/version.ts'
import type { VocabularyCut } from '../checkpoint/checkpoint.ts'
import { hashModel } from '../checkpoint/hash-model.node.ts'
import { STATISTICS } from '../checkpoint/huggingface.node.ts'
import { describeEngine } from '../engine/engine.node.ts'
import { fewLogits } from '../evaluate/few-logits.ts'
import type { FloatDType } from '../formats/dtype.ts'
import { isQuantized } from '../formats/gguf-dequantize.ts'
import { shardedBytes } from '../formats/safetensors.ts'
import { memoryContext } from '../forward/context.ts'
import { openCheckpoint } from '../hub/open.node.ts'
import { describeModel, type Model } from '../model/model.ts'
import type { PruneOptions, ResolvedOptions } from '../options/options.ts'
import type { OutputBytes, Plan } from '../options/plan.ts'
import { checkOutput, freeBytes } from '../output/place.node.ts'
import { openResumable } from '../output/resumable.node.ts'
import { activationFiles, openScratch } from '../output/scratch.node.ts'
import { committed, GGUF_FILE, NOWHERE, type Sink, subSink, writeFile } from '../output/sink.ts'
import { identityHere } from '../output/state.node.ts'
import { savedByAll, together } from '../output/state-ranks.ts'
import { type Saved, UNSAVED } from '../output/steps.ts'
import { checkOptions, prepare } from '../prune/run.ts'
import { type CommonSteps, DenseRows } from '../prune/shared-steps.ts'
import { pruneWithinLoss } from '../prune/within-loss.ts'
import { ALONE, type Group } from '../ranks/group.ts'
import { checkSame } from '../ranks/option-check.ts'
import { engineNotice, roomNotice } from '../report/made.ts'
import { modelCard } from '../result/card.ts'
import type { Perplexities, PerplexityResult } from '../result/measured.ts'
import type { PruneResult } from '../result/result.ts'
import { type CalibrationInput, isOwn, OWN_TEXT, textsOrWindows } from '../text/calibration.ts'
import { hashWindows } from '../text/hash-windows.node.ts'
import type { Windows } from '../text/windows.ts'
import type { VocabularyChoice } from '../vocabulary/cut-vocabulary.ts'
import { exportRequests, type PlacedExport, placed, writeExports } from '../write/export.node.ts'
import type { PlannedExport } from '../write/export-result.ts'
import type { ExportPlan } from '../write/target.ts'
import { type ExportRequest, planExport, plannedModel, TARGETS } from '../write/targets.ts'
import { checkMemory, lacksMemory } from './memory.node.ts'
import { checkOwnText } from './own-text.node.ts'
import { choose, type EngineChoice, isOpen, nodeVerbs, openTexts, type TextInput } from './platform.node.ts'
import { type HealChoice, healChoice, healPruned, PRUNED, planHealing, pruneBeside } from './prune-heal.node.ts'
import { type Asked, otherModel, otherTexts, type RecipeOptions, recorded, withRecipe } from './recipe.node.ts'
import { nameOf, type PreparedPrune, preparedPrune } from './verbs.ts'
import { openWithVocabulary, type WithVocabulary } from './vocabulary.node.ts'

/** What is pruned, on what, and what is written of it. */
export interface PlanOptions extends Omit<PruneOptions, 'dtype'>, RecipeOptions {
  /** Folder, or `.gguf` file. @default a folder */
  readonly output?: string
  /** Replace an output that an earlier run wrote. @default false */
  readonly overwrite?: boolean
  /** Formats to write besides, each in a folder below `output`. @default none; gguf where `output` is a `.gguf` */
  readonly to?: readonly ExportRequest[]
  /**
   * Element type of all weights written: F32, F16, BF16 or F64; of a `.gguf` one of its types. A folder from a
   * quantised GGUF has BF16. @default as the source
   */
  readonly dtype?: string
  /**
   * Texts, text files (.txt, .jsonl, .parquet, .gz of these) or data sets (`wikitext2`, `c4`, `hf:org/name:split`), in
   * equal shares; or windows. @default self, which the model writes
   */
  readonly calibration?: readonly TextInput[] | Windows
  /**
   * Heal what was pruned, by gradients, on so many tokens of the calibration texts, `true` for as many as `heal` takes,
   * or with `tokens`, `lr`, `train`, `rank` and `top` as `heal` has them. Output and exports are of the healed
   * model. Own text is that of the calibration again. @default it is not healed
   */
  readonly heal?: number | boolean | HealChoice
  /** Which tokens of the vocabulary stay; the rows of the others go, before all else (`cutVocabulary`). @default all */
  readonly vocabulary?: VocabularyChoice<TextInput>
  /** Texts for perplexity before and after; a plan counts their tokens. A sink takes none. @default none */
  readonly text?: readonly TextInput[]
  readonly signal?: AbortSignal
}

export interface PrunePathOptions extends Omit<PlanOptions, 'output'>, EngineChoice {
  /** Folder to write, a `.gguf` file, or a sink. */
  readonly output: string | Sink
  /** The first so many windows of each of them. @default all */
  readonly textWindows?: number
  /**
   * Go on from what an earlier run into `output` had done that was stopped, to the same bytes. Refused for another
   * model, other options or texts, another engine or version, and functions of yours. A run that was stopped after some
   * seconds leaves that in a hidden folder beside `output`, until a run into it ends well. @default false
   */
  readonly resume?: boolean
  /** Seconds between two savings for `resume`, at least; 0: after each half-block or exported tensor. @default 15 */
  readonly saveEvery?: number
  /**
   * Runs that are given the same object make once what does not depend on the sparsity: calibration windows, statistics
   * of the dense model, sensitivities, and the dense stream, in up to half of the free disk beside the output until
   * `common` is disposed of. They may differ in `sparsity` and `output`, a path, alone.
   * @example
   * await using common = new CommonSteps()
   * for (const sparsity of [0.2, 0.3]) await prune(model, { sparsity, common, output: `smaller-${sparsity}` })
   */
  readonly common?: CommonSteps
  /**
   * The processes of `openGroup` that do this together: each calibrates on a part of the windows, all have the same
   * options. The root writes; the others get the same result without exports. @default this one alone
   */
  readonly group?: Group
  /** Keep what quantised exports round with, in the folder `statistics`, for `exportModel`, too. @default false */
  readonly keepStatistics?: boolean
}

export interface PathPlan extends Plan {
  readonly options: ResolvedOptions
  /** Absent where the vocabulary is whole. */
  readonly vocabulary?: VocabularyCut
  readonly exports: readonly PlannedExport[]
  /** Where it is healed: tokens, and bytes that this takes after pruning: peak memory, and disk until its end. */
  readonly healing?: { readonly tokens: number; readonly memoryBytes: number; readonly diskBytes: number }
}

/** What `prune` gives. */
export interface PrunePathResult extends PruneResult {
  /** As it was given; undefined for a sink. */
  readonly output?: string
  readonly exports: readonly PlacedExport[]
  readonly perplexities: Perplexities
}

export type PathRun = PreparedPrune<PrunePathResult>

export async function* prepareEvents(source: string | Model, given: PrunePathOptions): Progress<PathRun> {
  const { options, recipe, differences } = await withRecipe(given)
  const {
    overwrite = false,
    keepStatistics,
    resume = false,
    saveEvery,
    common,
    group = ALONE,
    engine = {},
    signal,
    ...others
  } = options
  const { output, products, seqLen, textWindows } = others
  const path = typeof output === 'string' ? output : undefined
  const requested = ask(others)
  if (keepStatistics && requested.single)
    throw new UsageError(`${path} is a .gguf file, which has no room for statistics. Give a folder, and --to gguf.`)
  if (keepStatistics && others.heal)
    throw new UsageError('statistics are of the model before it is healed. Leave out keep-statistics, or heal.')
  const name = nameOf(source)
  if (resume && (path === undefined || typeof source !== 'string'))
    throw new UsageError('only a run from a path into a path has a state to resume from. Give both as paths.')
  const isRoot = group.rank === 0
  if (path !== undefined && isRoot) await checkOutput(path, overwrite, [name])
  for (const message of differences) yield notice(message)
  const { windows, texts: named } = textsOrWindows(others.calibration)
  const texts = named && (yield* openTexts(named, 'calibration', { signal }))
  const asked = { ...requested, input: { windows, texts } }
  const measuredOn = yield* openTexts(others.text, 'evaluation', { signal })
  const keep = yield* openTexts(others.vocabulary?.keep, 'calibration', { signal })
  const vocabulary = others.vocabulary && { ...others.vocabulary, keep }
  const wanted: Asked = {
    calibration: texts && recorded(named, texts),
    vocabulary: vocabulary && { ...vocabulary, keep: recorded(others.vocabulary!.keep, keep) },
    to: others.to,
    heal: others.heal || undefined,
    text: others.text && recorded(others.text, measuredOn),
    textWindows,
    keepStatistics,
  }
  for (const message of recipe ? otherTexts(recipe, wanted) : []) yield notice(message)
  if (!isOpen(engine)) describeEngine(engine, products) // refuses what this machine lacks
  const model = yield* openWithVocabulary(source, vocabulary, [...(texts ?? []), ...measuredOn], signal)
  return preparedPrune(model, () => {
    const { requests, single } = asked
    const { run, exports: planned, rounds, healing } = decide(model, asked)
    const { threads } = isOpen(engine) ? engine.facts : engine
    if (group.size > 1 && common)
      throw new UsageError('steps in common are of one process. Leave common out where there is a group.')
    checkMemory('prune', model.checkpoint.name, Math.max(run.plan.memoryBytes, healing?.bytes.memory ?? 0), threads)
    return { run, pruneEvents: execute }

    async function* execute(): Progress<PrunePathResult> {
      await using chosen = choose({ engine })
      const { memory: _, ...same } = run.options
      const said = { fasp: VERSION, model: model.checkpoint.config, ...same, ...wanted, output: path }
      await checkSame(group, { ...said, dtype: options.dtype, windows: windows && hashWindows(windows) })
      const { path: local } = model.checkpoint
      const hash = async () => (local ? await hashModel(local) : '')
      const sha256 = local && isRoot && (recipe || path) ? await (common?.hash(hash) ?? hash()) : undefined
      const unlike = recipe ? otherModel(recipe, model.checkpoint, sha256) : []
      const { facts } = chosen.engine
      for (const one of [...unlike, engineNotice(facts), roomNotice(facts)]) if (one) yield notice(one)
      const on = { engine: chosen.engine, signal }
      if (typeof output !== 'string' || !isRoot) {
        const scratch = activationFiles(join(tmpdir(), 'fasp'))
        const sink = isRoot && typeof output !== 'string' ? output : NOWHERE
        const statistics = keepStatistics ? subSink(sink, STATISTICS) : undefined
        const result = yield* pruneBeside(run, healing, { ...on, sink, statistics, openScratch: scratch, group })
        return { ...result, exports: [], perplexities: {} }
      }
      const exported = planned.reduce((sum, { bytes }) => sum + bytes.after, 0)
      const { scratch } = run.plan.activationBytes // on the same disk, and gone before exports are written
      const healed = healing ? shardedBytes(run.plan.tensors) + healing.bytes.scratch : 0
      const expected = healing
        ? 'the output with what it is healed from'
        : scratch > exported
          ? 'the output with activations (--memory keeps more in memory)'
          : undefined
      const keeps = keepStatistics || rounds
      const statistics = keeps ? shardedBytes(run.plan.grams) : 0
      const expectedBytes = shardedBytes(run.plan.tensors) + healed + statistics + Math.max(exported, scratch)
      const temporary = healing ? PRUNED : keepStatistics ? undefined : STATISTICS // of a .gguf file nothing stays
      const identity = runIdentity()
      if ((resume || common) && !identity)
        throw new UsageError('resume and common go by hashes: functions of yours, and texts without sha256, have none.')
      const opened = { inputs: [name], expectedBytes, expected, temporary }
      const resuming = { run: identity, resume, every: saveEvery, engine: chosen.engine }
      const { sink, saved: own, notices } = await openResumable(output, overwrite, opened, resuming)
      await using trials = run.options.maxLoss === undefined ? undefined : new DenseRows()
      const dense = common?.dense ?? trials
      const beside = dense ? ((await freeBytes(sink.pending)) - expectedBytes) / 2 : 0
      const folder = single || healing ? PRUNED : ''
      const place = {
        sink: subSink(sink, folder),
        statistics: keeps ? subSink(sink, `${folder}${STATISTICS}`) : undefined,
        openScratch: activationFiles(output),
        recall: dense?.recall(beside, () => openScratch(output)),
      }
      const { gguf, card } = model.checkpoint
      const given = { gguf, card }
      const clock = new Clock<Phase>()
      async function* perplexityOf(of: Model, phase: Phase): Progress<readonly PerplexityResult[]> {
        clock.start(phase)
        const measured = { text: measuredOn, seqLen, windows: textWindows, phase, ...on }
        const { perplexity } = yield* nodeVerbs.evaluate(of, measured)
        clock.stop()
        return perplexity
      }
      return yield* committed(sink, async function* () {
        if (keepStatistics) yield notice(`The statistics in ${join(output, STATISTICS)} take ${bytes(statistics)}.`)
        for (const message of notices) yield notice(message)
        await savedByAll(group, own)
        const saved = common?.with(own, JSON.stringify({ ...identity, sparsity: undefined })) ?? own
        const texts = measuredOn.length > 0
        // The untouched model, also where the vocabulary is cut: that costs, too.
        const whole = () => perplexityOf(model.whole ?? model, 'evaluate dense')
        const dense = texts ? yield* saved.step('perplexity of the dense model', whole) : [] // reads the texts early
        const pruneInto = (saved: Saved) =>
          together(own, group, () =>
            pruneWithinLoss(run, { ...place, ...on, group, saved, heals: healing !== undefined }),
          )
        const around = { ...on, sink, single, output, saved, clock, group }
        const { result, at } = healing
          ? yield* healPruned(run, healing, around, pruneInto)
          : { result: yield* pruneInto(saved), at: folder }
        await using pruned = await openCheckpoint(join(sink.pending, folder))
        await using last = await openCheckpoint(join(sink.pending, at))
        // A GGUF source gives its tokenizer and names to a GGUF result. Statistics of pruning round what is healed.
        const written = describeModel({ ...last, ...given, statistics: pruned.statistics, name: output })
        if (!single) {
          const logits = await fewLogits(memoryContext(chosen.engine, signal), written)
          sink.note({ source: { ...result.source, sha256 }, asked: wanted, logits })
        }
        const later = healing ? UNSAVED : saved // the state of healing is what the healed model is made of again
        const context = { ...on, open: openCheckpoint, apart: !single, source: model, saved: later }
        if (requests.length > 0) clock.start('export')
        const exports = yield* writeExports(written, requests, sink, context)
        await using file = single && texts ? await openCheckpoint(join(sink.pending, GGUF_FILE)) : undefined
        const small = () => perplexityOf(file ? describeModel(file) : written, 'evaluate pruned')
        const after = texts ? yield* later.step('perplexity of the pruned model', small) : []
        const perplexities: Perplexities = texts ? { dense, pruned: after } : {}
        if (!single) await writeFile(sink, modelCard(model, result, { perplexities, exports }))
        const seconds = { ...result.seconds, ...clock.stop() }
        return { ...result, output, exports: placed(output, exports), perplexities, seconds }
      })

      /** What goes on to the same bytes; undefined where that is not to be told. Memory changes none. */
      function runIdentity(): JsonObject | undefined {
        const { windows } = asked.input
        const read = [wanted.calibration, wanted.vocabulary?.keep, wanted.text].flatMap(texts => texts ?? [])
        const { memory: _, ...resolved } = run.options
        if (!sha256 || Object.keys(run.method.own).length > 0 || read.some(text => !text.sha256)) return undefined
        const all = {
          ...{ model: sha256, output: single ? 'a .gguf file' : 'a folder', ...resolved, ...wanted },
          ...{ dtype: options.dtype, calibrationWindows: windows && hashWindows(windows) },
        }
        return identityHere(all, facts)
      }
    }
  })
}

export async function* pruneEvents(source: string | Model, options: PrunePathOptions): Progress<PrunePathResult> {
  await using run = yield* prepareEvents(source, options)
  return yield* run.pruneEvents()
}

export async function* planPruneEvents(source: string | Model, given: PlanOptions): Progress<PathPlan> {
  const { options, recipe, differences } = await withRecipe(given)
  for (const message of differences) yield notice(message)
  const all: Omit<PrunePathOptions, 'output'> & PlanOptions = options
  const { signal, text, textWindows, keepStatistics, overwrite, ...others } = all
  if (others.maxLoss !== undefined)
    throw new UsageError(
      'what max-loss removes takes runs to find, so there is no plan (--dry-run) of it. Plan a sparsity or a size.',
    )
  const { output, vocabulary } = others
  const asked = ask(others)
  if (output !== undefined) await checkOutput(output, overwrite, [nameOf(source)])
  const { texts } = vocabulary ? textsOrWindows(others.calibration) : {}
  const read = yield* openTexts(texts, 'calibration', { signal })
  const measuredOn = yield* openTexts(text, 'evaluation', { signal })
  await using model = yield* openWithVocabulary(source, vocabulary, [...read, ...measuredOn], signal)
  for (const message of recipe ? otherModel(recipe, model.checkpoint) : []) yield notice(message)
  const { run, exports, healing } = decide(model, asked)
  const lack = lacksMemory('prune', model.checkpoint.name, Math.max(run.plan.memoryBytes, healing?.bytes.memory ?? 0))
  for (const message of [...(lack ? [lack] : []), ...(healing?.notices ?? [])]) yield notice(message)
  const { plan, options: resolved } = run
  const disk = shardedBytes(plan.tensors) + (healing?.bytes.scratch ?? 0)
  const heals = healing && { tokens: healing.sizes.tokens, memoryBytes: healing.bytes.memory, diskBytes: disk }
  return { ...plan, options: resolved, exports, vocabulary: model.checkpoint.vocabulary, healing: heals }
}

/** What is asked for, before a long download. @throws UsageError for what is wrong on any model */
function ask(
  options: Omit<PrunePathOptions, 'output' | 'signal' | 'engine'> & Partial<Pick<PrunePathOptions, 'output'>>,
) {
  const { output = '', to, dtype, calibration, vocabulary, text, textWindows, ...others } = options
  const { heal, ...rest } = others
  if (typeof output !== 'string' && (to || text || heal))
    throw new UsageError('a sink takes no exports (to), nor text, nor healing. Give the path of a folder as output.')
  const choice = healChoice(heal)
  const path = typeof output === 'string' ? output : ''
  const single = isGgufFile(path)
  const requests = exportRequests(path, to, single ? dtype : undefined).map(one => withDtype(one, dtype))
  const settings = { ...rest, dtype: single ? undefined : (dtype as FloatDType | undefined) }
  const { windows, texts } = textsOrWindows(calibration)
  if (vocabulary && windows)
    throw new UsageError('calibration windows hold ids of the whole vocabulary. With a smaller one give texts.')
  const input: CalibrationInput = { windows, texts: texts?.filter(isOwn).map(() => OWN_TEXT) } // others are read later
  checkOptions(settings, input)
  const heals = choice && { choice, texts: texts?.length }
  return { single, requests, settings, input, heals }
}

/** The run, and what its exports will have, and would have of the model as it is. */
function decide(model: WithVocabulary<Model>, { single, requests, settings, input, heals }: ReturnType<typeof ask>) {
  const dense = requests.map(request => planExport(model.whole ?? model, request))
  const planned: (...of: Parameters<OutputBytes>) => ExportPlan[] = (output, options) =>
    requests.map(request => planExport(plannedModel(model, output, options), request, model))
  const run = single
    ? prepare(model, { ...settings, dtype: intermediateType(dense[0]) }, input, (...of) => planned(...of)[0].bytes)
    : prepare(model, settings, input)
  checkOwnText(run)
  const exports = planned(run.plan, run.options).map(({ dtype, bytes }, i): PlannedExport => {
    return { to: requests[i].to, dtype, bytes: { before: dense[i].bytes, after: bytes } }
  })
  const healing = heals ? planHealing(run, heals.choice, heals.texts) : undefined
  return { run, exports, rounds: dense.some(quantizes), healing }
}

/** The type of the weights holds for exports that name none, where a target has it. */
const withDtype = ({ to, dtype }: ExportRequest, own: string | undefined): ExportRequest => ({
  to,
  dtype: dtype ?? TARGETS[to]?.dtypes.find(one => one === own),
})

/** Type of the temporary folder that a GGUF file is made from. 11 bits are enough for 8 of a quantised type. */
const intermediateType = ({ dtype }: ExportPlan): FloatDType => (dtype === 'F32' || dtype === 'BF16' ? dtype : 'F16')

/** Whether an export rounds weights to blocks. */
const quantizes = ({ expected }: ExportPlan) => [...(expected?.types.values() ?? [])].some(isQuantized)
