// Healing in Node, of a model and a dense one that are open, for `heal`, `prune` with `heal`, and comparisons.
import { baseName, bytes } from '../base/display.ts'
import { TextError, UsageError } from '../base/errors.ts'
import { notice, type Progress, type ProgressEvent } from '../base/events.ts'
import type { Engine, Precision } from '../engine/engine.ts'
import type { Model } from '../model/model.ts'
import { HEAL_DEFAULTS } from '../options/defaults.ts'
import { checkRange, type Trains } from '../options/options.ts'
import { outputTypes } from '../options/plan.ts'
import { ActivationPool } from '../output/activations.ts'
import { openScratch } from '../output/scratch.node.ts'
import type { Saved } from '../output/steps.ts'
import { ALONE, type Group } from '../ranks/group.ts'
import type { HealRecord } from '../result/result.ts'
import type { CalibrationInput } from '../text/calibration.ts'
import { loadTokenizer } from '../text/tokenizer.ts'
import type { Windows } from '../text/windows.ts'
import { heal } from './heal.ts'
import { healNeed } from './memory.ts'
import { trainedHalves, trainedSize } from './parameters.ts'
import { teacherBytes } from './teacher.ts'

/** What is healed, and on how much. */
export interface HealingOptions {
  /** Tokens to heal on, where windows come again counted again. Windows that are given come once. @default 65536 */
  readonly tokens?: number
  /** Windows of the texts, at most. @default as many as make the tokens */
  readonly windows?: number
  /** Tokens per window. @default 512, or the context */
  readonly seqLen?: number
  /** Windows of each text to measure on instead, or of each other text. @default as many as make 4096 tokens */
  readonly heldOut?: number
  /** Windows of a step. @default as many as make 2048 tokens */
  readonly batch?: number
  /**
   * Largest rate of learning, after 5 % of the steps; the last step has a tenth of it. The default falls to
   * a quarter, again and again, where a measurement on held-out windows is more than a tenth worse than the start.
   * @default 0.0001, lora 0.001, or less if that harms
   */
  readonly lr?: number
  /**
   * Linear layers whose weights change: of all half-blocks, of FFNs, or of all by low-rank updates, which take little
   * memory and are merged at the end, and which a `rank` asks for, too. @default all; above 1 B weights lora
   */
  readonly train?: Trains
  /** Of low-rank updates. @default 16 */
  readonly rank?: number
  /**
   * Precision of matrix products in the half-blocks, and back to gradients, as of `prune`; measured is in float32.
   * @default 'float32'
   */
  readonly products?: Precision
  /** Most likely tokens of the dense model to go by at each position, with a bucket of others; 0: all. @default 1024 */
  readonly top?: number
  /** Steps between two measurements on held-out windows. @default an eighth of all */
  readonly every?: number
  /** Of the order of windows, the text that the model writes, and first values of low-rank updates. @default 0 */
  readonly seed?: number
  /** GiB of memory for weights, gradients and activations; the rest goes to scratch files by the output. @default 4 */
  readonly memory?: number
}

/** A healed model has the layout, names and types that it had. */
export const AS_IT_IS = { to: 'huggingface' } as const
/** More weights than this are trained by low-rank updates, unless the user says otherwise: each takes 20 bytes. */
const MOST_WEIGHTS = 1e9

/** Windows and tokens of a run. */
export interface HealingSizes {
  readonly seqLen: number
  readonly tokens: number
  readonly windows: number
  readonly heldOut: number
  readonly batch: number
}

/** What sizes go by of texts. */
interface SizedInput extends Pick<CalibrationInput, 'windows'> {
  readonly texts?: { readonly length: number }
  /** Others, to measure on. */
  readonly measured?: { readonly length: number }
}

/** Windows and tokens, where the user does not say. @throws UsageError */
export function sizesOf(
  options: HealingOptions,
  { windows: made, texts, measured }: SizedInput,
  models: readonly Pick<Model, 'architecture'>[],
): HealingSizes {
  const longest = Math.min(...models.map(({ architecture }) => architecture.maxPositions))
  const seqLen = made?.seqLen ?? options.seqLen ?? Math.min(HEAL_DEFAULTS.seqLen, longest)
  checkRange('seq-len', seqLen, 2, longest, true)
  const count = (tokens: number) => Math.max(1, Math.round(tokens / seqLen))
  const given = made?.windows.length ?? options.windows
  if (given === 0) throw new UsageError('calibration has no windows to heal on. Give some, or texts.')
  const tokens = options.tokens ?? (given ? given * seqLen : HEAL_DEFAULTS.tokens)
  return {
    seqLen,
    tokens,
    windows: given ?? Math.max(texts?.length ?? 1, Math.ceil(tokens / seqLen)),
    heldOut: made && !measured ? (made.heldOut?.length ?? 0) : (options.heldOut ?? count(HEAL_DEFAULTS.heldOutTokens)),
    batch: options.batch ?? count(HEAL_DEFAULTS.stepTokens),
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
    `${model.checkpoint.name} and ${dense.checkpoint.name} have different tokenizers: their probabilities are not of ` +
      'the same tokens. Give the model that it was pruned from as --dense.',
  )
}

/** What the specification leaves to check, before a long download. @throws UsageError */
export function checkHealing({ train, rank }: HealingOptions): void {
  if (rank !== undefined && train !== undefined && train !== 'lora')
    throw new UsageError(
      `rank is of low-rank updates, and train is "${train}". Leave one of them out, or train "lora".`,
    )
}

const stepsOf = ({ tokens, batch, seqLen }: Pick<HealingSizes, 'tokens' | 'batch' | 'seqLen'>): number =>
  Math.max(1, Math.floor(tokens / (batch * seqLen)))

/** Arrays that V8 has not collected yet: SmolLM2-135M took 1.10 to 1.23 times the others (bench/log.md). */
const NOT_COLLECTED = 1.25

/** Bytes that healing takes. */
export interface HealingBytes {
  /** Peak of the process. */
  readonly memory: number
  /** Of scratch files. */
  readonly scratch: number
}

/** Tokens of the windows that a run trains on. */
const usedTokens = (sizes: Pick<HealingSizes, 'seqLen' | 'windows' | 'batch' | 'tokens'>): number =>
  Math.min(sizes.windows, sizes.batch * stepsOf(sizes)) * sizes.seqLen

/** @param heldOut windows in all */
export function healingBytes(
  model: Pick<Model, 'architecture'>,
  dense: Pick<Model, 'architecture'>,
  options: HealingOptions,
  sizes: HealingSizes,
  heldOut: number,
): HealingBytes {
  const { seqLen, batch } = sizes
  const budget = (options.memory ?? HEAL_DEFAULTS.memory) * 2 ** 30
  const tokens = { all: usedTokens(sizes), heldOut: heldOut * seqLen, step: batch * seqLen, window: seqLen }
  const { held, work } = healNeed(model, dense, trainingOf(options, model), tokens)
  return { memory: NOT_COLLECTED * (Math.min(held, budget) + work), scratch: Math.max(0, held - budget) }
}

/** Bytes of what is kept of the dense model. @param windows that there are */
export const keptBytes = (
  { architecture }: Pick<Model, 'architecture'>,
  { top = HEAL_DEFAULTS.top }: HealingOptions,
  sizes: HealingSizes,
  { windows }: Pick<Windows, 'windows'>,
): number => usedTokens({ ...sizes, windows: windows.length }) * teacherBytes(architecture, top)

/** Says what is kept of the dense model, and where. @param kept its bytes */
export function keptNotice({ top = HEAL_DEFAULTS.top }: HealingOptions, kept: number): ProgressEvent {
  const what = top > 0 ? 'probabilities' : 'last hidden states'
  return notice(`The dense model's ${what} take ${bytes(kept)}, in memory or beside the output.`)
}

/** What healing takes from around it. */
interface On {
  readonly engine: Engine
  /** Scratch files go beside it. */
  readonly output: string
  readonly saved: Saved
  readonly signal?: AbortSignal
  /** Processes that do this together: each writes the same model, or leaves that to the root. @default this one */
  readonly group?: Group
}

/**
 * Heals `model`.
 * @param given what is healed on, and from where that is
 * @param write is given the healed model, which can be read until it has ended
 * @throws TextError where nothing is held out; UsageError for other tokenizers; NumericError where no step is nearer
 */
export async function* healing<T>(
  { engine, output, saved, signal, group = ALONE }: On,
  model: Model,
  dense: Model,
  given: Windows & Pick<HealRecord['calibration'], 'source' | 'measuredOn'>,
  options: HealingOptions & Pick<HealingSizes, 'tokens' | 'batch'>,
  write: (healed: Model, record: HealRecord) => Progress<T>,
): Progress<T> {
  const { tokens, batch, memory = HEAL_DEFAULTS.memory, seed = 0 } = options
  const { windows, heldOut = [], seqLen, source, texts, measuredOn } = given
  if (heldOut.length === 0) throw new TextError(NONE_HELD_OUT)
  checkTokenizers(model, dense, windows)
  const steps = stepsOf({ tokens, batch, seqLen })
  const every = options.every ?? Math.ceil(steps / HEAL_DEFAULTS.measurements)
  const settings = { steps, batch, ...trainingOf(options, model), seed }
  for (const message of trainingNotices(options, model)) yield notice(message)
  if (batch < group.size)
    yield notice(
      `${group.size} processes share out ${batch} windows a step, and some have none. ` +
        'Give a larger --batch, or fewer processes.',
    )
  const pool = new ActivationPool(memory * 2 ** 30, () => openScratch(output), engine.array)
  try {
    const [context, types] = [{ engine, pool, signal, group }, outputTypes(model, undefined)]
    const found = yield* heal(context, model, dense, { windows, heldOut }, { ...settings, every }, types, saved)
    const { curve, step, lr } = found
    return yield* write(found.model, {
      ...{ tokens: step * batch * seqLen, step, ...settings, lr, dense: baseName(dense.checkpoint.name) },
      kl: { before: curve[0].kl, after: curve.find(point => point.step === step)!.kl },
      ...{ curve, calibration: { source, seqLen, texts, measuredOn } },
    })
  } finally {
    await pool.close()
  }
}

export const NONE_HELD_OUT =
  'no window is left to measure on, and nothing would tell what healing is worth. ' +
  'Give more text, a --held-out above 0, or a smaller --seq-len.'

const BY_LORA =
  'It has more than a billion weights in linear layers: low-rank updates of them are trained (--train lora). ' +
  '--train all moves each weight, and takes 20 bytes for it.'

/** What the user should know of what is trained. */
export const trainingNotices = (options: HealingOptions, model: Pick<Model, 'architecture'>): string[] =>
  trainingOf(options, model).train === 'lora' && !options.train && !options.rank ? [BY_LORA] : []

/** What is trained, towards what, and how fast. */
export function trainingOf(
  { train, rank, lr, products, top }: HealingOptions,
  { architecture: { halves } }: Pick<Model, 'architecture'>,
) {
  const isLarge = trainedSize(trainedHalves(halves, 'all')) > MOST_WEIGHTS
  const chosen = train ?? (rank || isLarge ? 'lora' : 'all')
  const ranks = chosen === 'lora' && { rank: rank ?? HEAL_DEFAULTS.rank }
  const reduced = products && products !== 'float32' && { products }
  return { train: chosen, ...ranks, lr, ...reduced, top: top ?? HEAL_DEFAULTS.top }
}
