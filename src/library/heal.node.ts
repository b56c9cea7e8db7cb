// `heal` in Node: a pruned model and the model that it was pruned from → a folder like the pruned one, with weights nearer to the dense model.
import { jsonFile, type SideFile } from '../checkpoint/checkpoint.ts'
import { hashModel } from '../checkpoint/hash-model.node.ts'
import { prunedFrom } from '../checkpoint/pruned.ts'
import { baseName, bytes } from '../display.ts'
import { notOneOf, TextError, UsageError } from '../errors.ts'
import { fewLogits } from '../evaluate/few-logits.ts'
import { notice, type ProgressEvent } from '../events.ts'
import { writeExports } from '../export/export.node.ts'
import { planExport } from '../export/targets.ts'
import { isJsonObject, type JsonObject } from '../formats/json.ts'
import { ActivationPool } from '../forward/activations.ts'
import { memoryContext } from '../forward/context.ts'
import { openScratch } from '../forward/scratch.node.ts'
import { checkHealed, heal } from '../heal/heal.ts'
import { healNeed } from '../heal/need.ts'
import { TRAINS, type Trains, trainedHalves, trainedSize } from '../heal/trained.ts'
import { openCheckpoint } from '../hub/open.node.ts'
import { describeModel, type Model } from '../model/model.ts'
import { checkRange } from '../options.ts'
import { outputTypes } from '../plan.ts'
import type { HealRecord, Recipe } from '../result.ts'
import { type CalibrationInput, calibration, calibrationSource, textsOrWindows } from '../text/calibration.ts'
import { loadTokenizer } from '../text/tokenizer.ts'
import type { Windows } from '../text/windows.ts'
import { VERSION } from '../version.ts'
import { withVocabularyOf } from '../vocabulary/same-vocabulary.ts'
import { healedCard, modelCard } from '../write/card.ts'
import { checkOutput, isGgufFile, OWN_MARK } from '../write/place.node.ts'
import { openResumable } from '../write/resumable.node.ts'
import { committed, writeFile } from '../write/sink.ts'
import { identityOf } from '../write/state.node.ts'
import { checkMemory } from './memory.node.ts'
import { checkOwnText } from './own-text.node.ts'
import { choose, type EngineChoice, nodeVerbs, openTexts, type TextInput } from './platform.node.ts'
import { hashOf } from './prune.node.ts'
import { recorded } from './recipe.node.ts'
import { nameOf } from './verbs.ts'

type Progress<T> = AsyncGenerator<ProgressEvent, T>

export interface HealOptions extends EngineChoice {
  /** The model that it was pruned from: folder, `.gguf` file, name on the Hub, or open. */
  readonly dense: string | Model
  /** Folder to write. */
  readonly output: string
  /** Replace an output that an earlier run wrote. @default false */
  readonly overwrite?: boolean
  /**
   * Texts, text files (.txt, .jsonl, .parquet, .gz of these) or names of data sets, in equal shares; or windows, ready made, of ids of the pruned
   * model, with some that are held out. @default the dense model writes its own text
   */
  readonly calibration?: readonly TextInput[] | Windows
  /** Tokens to heal on, those of windows that come again counted again. @default 65,536; of the windows given each once */
  readonly tokens?: number
  /** Windows of the texts, at most. @default as many as make `tokens` */
  readonly windows?: number
  /** Tokens per window. @default 512, or the model's context */
  readonly seqLen?: number
  /** Windows of each text that are not trained on but measured on. @default as many as make 4096 tokens */
  readonly heldOut?: number
  /** Windows of a step. @default as many as make 2048 tokens */
  readonly batch?: number
  /** Largest rate of learning, after 5 % of the steps; in the last a tenth of it is left. @default 1e-4; of low-rank updates 1e-3 */
  readonly lr?: number
  /**
   * Linear layers whose weights change: of all half-blocks, or of FFNs; or of all by low-rank updates, which take little memory of their own and
   * are merged at the end. @default 'all'; 'lora' where that would be more than 10⁹ weights, or `rank` is given
   */
  readonly train?: Trains
  /** Of low-rank updates. @default 16 */
  readonly rank?: number
  /** Steps between two measurements on held-out windows. @default an eighth of all */
  readonly every?: number
  /** Of the order of the windows, of text that the model writes, and of the first values of low-rank updates. @default 0 */
  readonly seed?: number
  /**
   * Go on from the last step that a run into the same output had saved which was stopped or killed: to the same bytes. It is refused where that
   * was begun with other options, texts, models, engine or version. @default false
   */
  readonly resume?: boolean
  /** Seconds between two savings of the state that `resume` goes on from, at least; 0: after each step. @default 15 */
  readonly saveEvery?: number
  /** GiB of memory for weights, gradients and activations; what does not fit goes to scratch files beside the output. @default 4 */
  readonly memory?: number
}

/** What `heal` gives. */
export interface HealResult extends HealRecord {
  /** As it was given. */
  readonly output: string
  /** Bytes of the dense model's probabilities, in memory or a scratch file. */
  readonly cacheBytes: number
  readonly seconds: number
}

const DEFAULTS = { tokens: 65536, seqLen: 512, heldOutTokens: 4096, stepTokens: 2048, memory: 4 } as const
const RATES: Readonly<Record<Trains, number>> = { all: 1e-4, ffn: 1e-4, lora: 1e-3 }
const RANK = 16
/** More weights than this are trained by low-rank updates, unless the user says otherwise: each takes 20 bytes. */
const MOST_WEIGHTS = 1e9
/** Measurements of a run. */
const MEASUREMENTS = 8

export async function* healEvents(source: string | Model, options: HealOptions): Progress<HealResult> {
  const { output, overwrite = false, signal, seed = 0, resume = false } = options
  const budget = (options.memory ?? DEFAULTS.memory) * 2 ** 30
  check(options)
  if (resume && (typeof source !== 'string' || typeof options.dense !== 'string'))
    throw new UsageError('only a run of two paths has a state to resume from. Give both models as paths.')
  const inputs = [nameOf(source), nameOf(options.dense)]
  await checkOutput(output, overwrite, inputs)
  const { windows: made, texts: named } = textsOrWindows(options.calibration)
  const texts = named && (yield* openTexts(named, 'calibration', { signal }))
  const input: CalibrationInput = { windows: made, texts }
  await using chosen = choose(options)
  await using model = yield* nodeVerbs.openModel(source, { signal })
  await using whole = yield* nodeVerbs.openModel(options.dense, { signal })
  const { engine } = chosen
  const dense = withVocabularyOf(whole, model)
  checkHealed(model, dense)
  const training = trainingOf(options, model)
  const size = sizesOf(options, input, [model, dense])
  const of = (windows: number) => windows * size.seqLen
  const heldOut = of(made ? size.heldOut : size.heldOut * (texts?.length ?? 1))
  const tokens = { all: of(size.windows), heldOut, step: of(size.batch), window: size.seqLen }
  const need = healNeed(model, dense, training, tokens)
  checkMemory('heal', model.checkpoint.name, Math.min(need.held, budget) + need.work, engine.facts.threads)
  checkOwnText({ model: dense, options: size, source: calibrationSource(input) })

  const started = performance.now()
  const run = await runIdentity()
  if (resume && !run) throw new UsageError('resume goes by hashes: texts without sha256 have none.')
  const spilled = Math.max(0, need.held - budget)
  const expectedBytes = planExport(model, AS_IT_IS).bytes + spilled
  const expected = spilled > 0 ? 'the output with what does not fit --memory' : undefined
  const opened = { inputs, expectedBytes, expected }
  const resuming = { run, resume, every: options.saveEvery }
  const { sink, saved, notices } = await openResumable(output, overwrite, opened, resuming)
  return yield* committed(sink, async function* () {
    const pool = new ActivationPool(budget, () => openScratch(output))
    try {
      for (const message of notices) yield notice(message)
      const memory = memoryContext(engine, signal)
      const given = yield* saved.step('calibration', () => calibration(memory, dense, input, { ...size, seed }))
      const { windows, heldOut = [], seqLen } = given
      if (heldOut.length === 0) throw new TextError(NONE_HELD_OUT)
      checkTokenizers(model, dense, windows)
      const stepTokens = size.batch * seqLen
      const steps = Math.max(1, Math.floor(size.tokens / stepTokens))
      const every = options.every ?? Math.ceil(steps / MEASUREMENTS)
      const settings = { steps, batch: size.batch, ...training, seed }
      if (training.train === 'lora' && !options.train && !options.rank) yield notice(BY_LORA)
      yield notice(`The dense model's probabilities take ${bytes(need.cache)}, in memory or beside the output.`)
      const healed = yield* heal(
        { engine, pool, signal },
        model,
        dense,
        { windows, heldOut },
        { ...settings, every },
        outputTypes(model, undefined),
        saved,
      )
      const { curve, step } = healed
      const record: HealRecord = {
        ...{ tokens: step * stepTokens, step, ...settings, dense: baseName(dense.checkpoint.name) },
        kl: { before: curve[0].kl, after: curve.find(point => point.step === step)!.kl },
        ...{ curve, calibration: { source: calibrationSource(input), seqLen, texts: given.texts } },
      }
      const context = { open: openCheckpoint, engine, apart: false, signal }
      yield* writeExports(healed.model, [AS_IT_IS], sink, context)
      await using written = await openCheckpoint(sink.pending)
      const logits = await fewLogits(memory, describeModel(written))
      const recipe = healedRecipe(model, record)
      await writeFile(sink, jsonFile(OWN_MARK, { ...recipe, logits }))
      await writeFile(sink, cardOf(dense, model, recipe))
      return { ...record, output, cacheBytes: need.cache, seconds: (performance.now() - started) / 1000 }
    } finally {
      await pool.close()
    }
  })

  /** What goes on to the same bytes; undefined where that is not to be told. Memory changes none. */
  async function runIdentity(): Promise<JsonObject | undefined> {
    const [own, its] = [model, dense].map(({ checkpoint }) => checkpoint.path)
    const read = named && recorded(named, texts!)
    if (!own || !its || read?.some(text => !text.sha256)) return undefined
    const hashes = { model: await hashModel(own), dense: await hashModel(its) }
    const windows = made && hashOf(made)
    const { every } = options
    return identityOf(
      { healing: hashes, ...size, ...training, seed, every, calibration: read, calibrationWindows: windows },
      engine.facts,
    )
  }
}

const AS_IT_IS = { to: 'huggingface' } as const
const NONE_HELD_OUT =
  'no window is left to measure on, and nothing would tell what healing is worth. Give more text, a --held-out above 0, or a smaller --seq-len.'

const BY_LORA =
  'It has more than a billion weights in linear layers: low-rank updates of them are trained (--train lora). --train all moves each weight, and takes 20 bytes for it.'

/** What is trained, and how fast. */
function trainingOf({ train, rank, lr }: HealOptions, { architecture: { halves } }: Model) {
  const isLarge = trainedSize(trainedHalves(halves, 'all')) > MOST_WEIGHTS
  const chosen = train ?? (rank || isLarge ? 'lora' : 'all')
  return { train: chosen, ...(chosen === 'lora' && { rank: rank ?? RANK }), lr: lr ?? RATES[chosen] }
}

/** All of this before a long download. */
function check({
  output,
  tokens,
  windows,
  heldOut,
  batch,
  lr,
  train,
  rank,
  every,
  seed,
  memory,
  saveEvery,
}: HealOptions): void {
  if (isGgufFile(output) || /\.(onnx|safetensors)$/i.test(output))
    throw new UsageError(
      `${output}: a healed model is a folder. Name one: -o <folder>; fasp export makes a .gguf of it, or ONNX.`,
    )
  const counts = [
    ['tokens', tokens, 1e12],
    ['windows', windows, 1e6],
    ['batch', batch, 1e4],
    ['every', every, 1e9],
    ['rank', rank, 4096],
    ['held-out', heldOut, 1000],
  ] as const
  for (const [name, value = 1, most] of counts) checkRange(name, value, 1, most, true)
  checkRange('seed', seed ?? 0, 0, 2 ** 32 - 1, true)
  checkRange('lr', lr ?? 0, 0, 1, false)
  checkRange('memory', memory ?? 0, 0, 1e6, false)
  checkRange('save-every', saveEvery ?? 0, 0, 1e9, false)
  if (train !== undefined && !TRAINS.includes(train)) throw notOneOf('train', train, TRAINS)
  if (rank !== undefined && train !== undefined && train !== 'lora')
    throw new UsageError(
      `rank is of low-rank updates, and train is "${train}". Leave one of them out, or train "lora".`,
    )
}

/** Windows and tokens, where the user does not say. */
function sizesOf(options: HealOptions, { windows: made, texts }: CalibrationInput, models: readonly Model[]) {
  const longest = Math.min(...models.map(({ architecture }) => architecture.maxPositions))
  const seqLen = made?.seqLen ?? options.seqLen ?? Math.min(DEFAULTS.seqLen, longest)
  checkRange('seq-len', seqLen, 2, longest, true)
  const count = (tokens: number) => Math.max(1, Math.round(tokens / seqLen))
  const given = made?.windows.length ?? options.windows
  if (given === 0) throw new UsageError('calibration has no windows to heal on. Give some, or texts.')
  const tokens = options.tokens ?? (given ? given * seqLen : DEFAULTS.tokens)
  return {
    seqLen,
    tokens,
    windows: given ?? Math.max(texts?.length ?? 1, Math.ceil(tokens / seqLen)),
    heldOut: made ? (made.heldOut?.length ?? 0) : (options.heldOut ?? count(DEFAULTS.heldOutTokens)),
    batch: options.batch ?? count(DEFAULTS.stepTokens),
  }
}

/** @throws UsageError where tokens of these windows, or their text, are others in the two models */
function checkTokenizers(model: Model, dense: Model, windows: readonly Int32Array[]): void {
  const [own, others] = [model, dense].map(({ checkpoint }) => loadTokenizer(checkpoint))
  const text = others.decode([...windows[0]])
  const ids = new Set(windows.flatMap(window => [...window]))
  const differs = [...ids].some(id => own.decode([id]) !== others.decode([id]))
  if (!differs && `${own.encode(text)}` === `${others.encode(text)}`) return
  throw new UsageError(
    `${model.checkpoint.name} and ${dense.checkpoint.name} have different tokenizers: their probabilities are not of the same tokens. Give the model that it was pruned from as --dense.`,
  )
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
  const { source = baseName(name), hubId, method, sparsity, healed = 0 } = pruned ?? {}
  const written = { source: { name: source, hubId, format, modelType: architecture.modelType } }
  const known = recipe ? said : { ...written, ...(pruned && { options: { method, sparsity } }) }
  return { schema: 1, fasp: VERSION, ...written, ...known, healed: { ...record, tokens: healed + record.tokens } }
}
