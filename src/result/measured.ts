// What is measured of a model, as results have it.
import type { VocabularyCut } from '../checkpoint/checkpoint.ts'
import type { TextSource } from '../text/windows.ts'
import { flag, list, number, object, optional, type Shaped, text, unchecked } from './shape.ts'

const PERPLEXITY = object({
  file: text,
  source: unchecked<TextSource | undefined>(),
  windows: number,
  seqLen: number,
  /** Tokens predicted: seqLen − 1 a window. */
  tokens: number,
  perplexity: number,
  /** From the spread of the windows' mean NLL; NaN (null in JSON) for one window. */
  standardError: number,
  /** Whether the tokenizer put a BOS before the text. */
  bos: flag,
  /** Mean NLL in bits, times the tokens a byte of the whole text. Absent where the windows came as tokens. */
  bitsPerByte: optional(number),
  /** A text of the same corpus, where the model was calibrated on one: the figure flatters it. */
  calibratedOn: optional(text),
})

/** exp of the mean negative log-likelihood (NLL), with what it takes to compare it: text, windows, length, BOS rule. */
export interface PerplexityResult extends Shaped<typeof PERPLEXITY> {}

/** On the same texts before and after; empty where none were measured. */
export type Perplexities = Partial<Record<'dense' | 'pruned', readonly PerplexityResult[]>>

/** What compares two models on a text. Tokens of a vocabulary that was cut are others; bytes are not. */
export const comparedBy = (vocabulary: VocabularyCut | undefined) =>
  vocabulary
    ? ({ of: 'bits per byte', figure: 'bitsPerByte' } as const)
    : ({ of: 'perplexity', figure: 'perplexity' } as const)

const DIVERGENCE = object({
  file: text,
  windows: number,
  seqLen: number,
  /** Mean KL(dense ‖ pruned) of the next-token probabilities, in nats. */
  kl: number,
  /** Fraction of positions at which both models find the same token most likely. */
  topAgreement: number,
})
export interface DivergenceResult extends Shaped<typeof DIVERGENCE> {}

const ESTIMATE = object({
  value: number,
  /** Of the mean: sample standard deviation / √items; NaN (null in JSON) for one item. */
  standardError: number,
})
export interface Estimate extends Shaped<typeof ESTIMATE> {}

const TASK = object({
  task: text,
  /** The harness's version of the task. */
  version: text,
  items: number,
  accuracy: ESTIMATE,
  /** Of log-likelihoods divided by the characters of each choice; absent where the harness has none. */
  accuracyNorm: optional(ESTIMATE),
})

/** A zero-shot task of multiple choice as lm-evaluation-harness defines it (docs/tasks.md). */
export interface TaskResult extends Shaped<typeof TASK> {}

const WORDS = object({
  task: text,
  /** The harness's version of the task. */
  version: text,
  documents: number,
  /** Tokens predicted in a window at most. */
  seqLen: number,
  wordPerplexity: number,
  bytePerplexity: number,
  bitsPerByte: number,
})

/** The task wikitext of lm-evaluation-harness: likelihood of whole documents, a word and a byte. */
export interface WordPerplexityResult extends Shaped<typeof WORDS> {}

export const CONTINUATION = object({
  prompt: text,
  /** The prompt was a message to a chat model, through its template. */
  chat: optional(flag),
  text,
})

/** What a model writes. */
export interface Continuation extends Shaped<typeof CONTINUATION> {}

/** All measures of one model. */
export const MEASURES = {
  perplexity: list<PerplexityResult>(PERPLEXITY),
  /** With a dense model to compare with: how far this model is from it on the same windows. */
  divergence: optional(list<DivergenceResult>(DIVERGENCE)),
  tasks: list<TaskResult>(TASK),
  wordPerplexity: optional<WordPerplexityResult>(WORDS),
}
