// All measures of one model: perplexity on texts at several window lengths, distance to the dense model, zero-shot tasks.
import type { Phase, Progress } from '../base/events.ts'
import { healedOn } from '../checkpoint/pruning-record.ts'
import type { Context } from '../forward/context.ts'
import type { Model } from '../model/model.ts'
import { TEXT_WINDOWS } from '../options/defaults.ts'
import { checkRange } from '../options/options.ts'
import type { Scratch } from '../output/activations.ts'
import type { DivergenceResult, PerplexityResult, TaskResult, WordPerplexityResult } from '../result/measured.ts'
import { corpusNotice } from '../result/notices.ts'
import type { NamedText } from '../text/calibration.ts'
import { calibratedOn } from '../text/corpus.ts'
import { tokenize } from '../text/tokenize.ts'
import { loadTokenizer } from '../text/tokenizer.ts'
import { evaluationWindows, type Windows } from '../text/windows.ts'
import { perplexity } from './perplexity.ts'
import { checkVocabularies, DenseReference, keepRows } from './reference.ts'
import { evaluateTasks, type Task, type TaskOptions } from './tasks/evaluate.ts'
import { wordPerplexity } from './tasks/wikitext.ts'

export interface MeasureOptions extends TaskOptions {
  /** For perplexity. @default none */
  readonly texts?: readonly NamedText[]
  /** Tokens per window; each text is measured at each length. @default 1024, or the context */
  readonly seqLen?: number | readonly number[]
  /** The first so many windows of each text. @default all */
  readonly windows?: number
  /** Also say, on each text, how far the model has moved from this one. `openRows` gives a file for its hidden states. */
  readonly dense?: { readonly model: Model; openRows(): Promise<Scratch> }
  /** Of multiple choice. @default none */
  readonly tasks?: readonly Task[]
  /** Documents of the task wikitext. */
  readonly pages?: readonly string[]
  /** What the progress calls the texts. @default 'evaluate' */
  readonly phase?: Phase
}

/** What was measured of one model. */
export interface Measures {
  readonly perplexity: readonly PerplexityResult[]
  /** With a dense model to compare with, for each perplexity, on the same windows: how far this model is from it, and the perplexity of it. */
  readonly divergence?: readonly DivergenceResult[]
  readonly dense?: readonly PerplexityResult[]
  /** Beside that: tokens that this model was healed on. @default it was not */
  readonly healed?: number
  readonly tasks: readonly TaskResult[]
  readonly wordPerplexity?: WordPerplexityResult
}

/** Reads all texts before it runs the model. @throws FaspError */
export async function* measure(context: Context, model: Model, options: MeasureOptions): Progress<Measures> {
  const { dense, tasks = [], pages, phase = 'evaluate' } = options
  if (dense) checkVocabularies(dense.model, model)
  const texts = []
  for (const one of yield* textWindows(context, model, options)) {
    if (one.calibratedOn) yield { type: 'notice', message: corpusNotice(one.name, one.calibratedOn) }
    texts.push(...one.windows.map(windows => ({ ...one, windows })))
  }
  const results = tasks.length > 0 ? yield* evaluateTasks(context, model, tasks, options) : []
  const words = pages && (yield* wordPerplexity(context, model, pages, options))
  const perplexities: PerplexityResult[] = []
  const [denses, divergences]: [PerplexityResult[], DivergenceResult[]] = [[], []]
  for (const { windows, ...text } of texts) {
    const { result, compared } = yield* onText(context, model, windows, phase, dense)
    perplexities.push(perplexityOf(text, result))
    if (!compared) continue
    divergences.push(compared.divergence)
    denses.push(perplexityOf({ ...text, calibratedOn: undefined }, compared.dense))
  }
  return {
    perplexity: perplexities,
    ...(dense && { divergence: divergences, dense: denses, healed: healedOn(model.checkpoint) }),
    tasks: results,
    ...(words && { wordPerplexity: words }),
  }
}

/** How far `model` is from the dense one on windows, ready made. @throws UsageError where their vocabularies differ; NumericError */
export async function* distanceOn(
  context: Context,
  model: Model,
  windows: Windows,
  dense: NonNullable<MeasureOptions['dense']>,
): Progress<Required<Compared>> {
  checkVocabularies(dense.model, model)
  const { result, compared } = yield* onText(context, model, windows, 'evaluate', dense)
  return { result, compared: compared! }
}

interface Compared {
  readonly result: Omit<PerplexityResult, 'bos'>
  readonly compared?: { readonly divergence: DivergenceResult; readonly dense: Omit<PerplexityResult, 'bos'> }
}

/** Perplexity on windows; with a dense model, that runs first, and the distance to it is measured in the same pass. */
async function* onText(
  context: Context,
  model: Model,
  windows: Windows,
  phase: Phase,
  dense: MeasureOptions['dense'],
): Progress<Compared> {
  if (!dense) return { result: yield* perplexity(context, model, windows, phase) }
  const rows = await dense.openRows()
  try {
    const before = yield* perplexity(context, dense.model, windows, 'evaluate dense', keepRows(dense.model, rows))
    const reference = await DenseReference.open(context, dense.model, model, rows)
    const result = yield* perplexity(context, model, windows, phase, reference.observe)
    const { file, windows: count, seqLen } = result
    const divergence = { file, windows: count, seqLen, ...reference.result() }
    return { result, compared: { divergence, dense: before } }
  } finally {
    await rows.close()
  }
}

/** A text, ready to be measured on. */
export interface TextWindows {
  readonly name: string
  readonly bos: boolean
  readonly calibratedOn?: string
  readonly tokensPerByte: number
  /** At each window length. */
  readonly windows: readonly Windows[]
}

/** A perplexity with what there is to say of its text. */
export const perplexityOf = (
  { bos, tokensPerByte, calibratedOn }: Omit<TextWindows, 'windows'>,
  result: Omit<PerplexityResult, 'bos'>,
): PerplexityResult => ({
  ...result,
  bos,
  // Gao et al., The Pile (arXiv 2101.00027), section 3.1: bits per byte = (tokens / bytes) · log2(e) · loss.
  bitsPerByte: tokensPerByte * Math.log2(result.perplexity),
  calibratedOn,
})

/** @throws UsageError, TextError */
export async function* textWindows(
  { signal }: Context,
  model: Model,
  { texts = [], seqLen, windows }: Pick<MeasureOptions, 'texts' | 'seqLen' | 'windows'>,
): Progress<TextWindows[]> {
  const { maxPositions, vocabularySize } = model.architecture
  const lengths = [seqLen ?? Math.min(TEXT_WINDOWS.seqLen, maxPositions)].flat()
  for (const length of lengths) checkRange('seq-len', length, 2, maxPositions, true)
  if (texts.length === 0) return []
  const tokenizer = loadTokenizer(model.checkpoint)
  const added = tokenizer.encode('').length
  const read = []
  for (const one of texts) {
    const { name, source } = one
    const wanted = windows === undefined ? Infinity : windows * Math.max(...lengths)
    const { ids, text } = yield* tokenize(tokenizer, name, await one.text(), { wanted, which: 'first', signal })
    read.push({
      name,
      bos: added > 0,
      calibratedOn: calibratedOn(model.checkpoint.recipe, name),
      tokensPerByte: (ids.length - added) / new TextEncoder().encode(text).length,
      windows: lengths.map(length => evaluationWindows({ name, ids, source }, length, vocabularySize, windows)),
    })
  }
  return read
}
