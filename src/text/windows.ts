// Calibration and evaluation, first step: token ids → windows of equal length. A text of K whole windows gives, for n
// of them, the windows number ⌊i·K/n⌋, i = 0 … n−1: spread over the whole text, no chance involved. Evaluation takes
// the first windows, as the GPTQ protocol does (arXiv 2210.17323, its WikiText-2 perplexity).
import { TextError, UnsupportedModelError, UsageError } from '../base/errors.ts'

/** One text after the tokenizer. */
export interface TokenizedText {
  /** Path of the file, or what else a message may call it. */
  readonly name: string
  readonly ids: ArrayLike<number>
  readonly source?: TextSource
}

/** Where on the Hub a text is from: a file of a data set, at a commit. */
export interface TextSource {
  readonly dataset: string
  readonly file: string
  readonly revision: string
}

/** What one text gave. */
export interface TextShare {
  readonly name: string
  /** Tokens in what was read of the text (tokenize.ts), BOS included. */
  readonly tokens: number
  /** Whole windows in that. */
  readonly available: number
  /** Windows taken. */
  readonly used: number
  /** Others, taken to measure on. @default 0 */
  readonly heldOut?: number
  readonly source?: TextSource
}

export interface Windows {
  readonly seqLen: number
  /** Each [seqLen], texts in the order given. */
  readonly windows: readonly Int32Array[]
  /** Windows that are not calibrated on, likewise. */
  readonly heldOut?: readonly Int32Array[]
  readonly texts: readonly TextShare[]
}

/** Whole consecutive windows in `length` tokens; the tail that fills none is dropped. */
const windowCount = (length: number, seqLen: number): number => Math.floor(length / seqLen)

/** `n` of the numbers below `available`, spread over them: ⌊i·available/n⌋. */
export const spread = (available: number, n: number): number[] =>
  Array.from({ length: n }, (_, i) => Math.floor((i * available) / n))

/** Window number `index` as a copy. */
function windowAt(ids: ArrayLike<number>, seqLen: number, index: number): Int32Array {
  const window = new Int32Array(seqLen)
  for (let t = 0; t < seqLen; t++) window[t] = ids[index * seqLen + t]
  return window
}

/**
 * The windows to calibrate on: `count` in equal shares (the first texts take the remainder), from each text its windows
 * number ⌊i·K/n⌋, or all where it has fewer than its share.
 * @param vocabularySize rows of the model's embedding; ids are checked against it
 * @param heldOut windows of each text besides, spread over the rest; of a short text up to a quarter of all
 * @throws TextError for a text without one whole window
 * @throws UsageError for fewer windows than texts
 * @throws UnsupportedModelError for a token that the model does not have
 */
export function calibrationWindows(
  texts: readonly TokenizedText[],
  seqLen: number,
  count: number,
  vocabularySize: number,
  heldOut = 0,
): Windows {
  checkCount('sequence length', seqLen, 2)
  checkCount('number of windows', count, 1)
  if (texts.length === 0) throw new UsageError('no calibration text; give at least one file with --calibration')
  if (count < texts.length)
    throw new UsageError(
      `${count} calibration windows cannot be divided among ${texts.length} texts; ` +
        `take at least one a text (--windows ${texts.length}) or fewer texts`,
    )
  const shares = equalShares(count, texts.length)
  return joinShares(
    seqLen,
    texts.map((text, i) => takeWindows(text, seqLen, shares[i], 'spread', vocabularySize, heldOut)),
  )
}

/** How many of `count` windows each text gives. The first take the remainder. */
export const equalShares = (count: number, texts: number): number[] =>
  Array.from({ length: texts }, (_, i) => Math.floor(count / texts) + (i < count % texts ? 1 : 0))

/**
 * The windows to evaluate on: the first `max`, or all.
 * @throws TextError for a text without one whole window
 * @throws UnsupportedModelError for a token that the model does not have
 */
export function evaluationWindows(
  text: TokenizedText,
  seqLen: number,
  vocabularySize: number,
  max = Infinity,
): Windows {
  checkCount('sequence length', seqLen, 2)
  if (max !== Infinity) checkCount('number of windows', max, 1)
  return joinShares(seqLen, [takeWindows(text, seqLen, max, 'first', vocabularySize)])
}

interface Share {
  readonly windows: Int32Array[]
  readonly heldOut: Int32Array[]
  readonly text: TextShare
}

function joinShares(seqLen: number, shares: readonly Share[]): Windows {
  return {
    seqLen,
    windows: shares.flatMap(share => share.windows),
    heldOut: shares.flatMap(share => share.heldOut),
    texts: shares.map(share => share.text),
  }
}

/** Of the windows of a short text one in so many may be kept to measure on. */
const MEASURED = 4

function takeWindows(
  { name, ids, source }: TokenizedText,
  seqLen: number,
  wanted: number,
  which: 'spread' | 'first',
  vocabularySize: number,
  heldOut = 0,
): Share {
  const available = windowCount(ids.length, seqLen)
  if (available === 0)
    throw new TextError(
      `${name}: ${ids.length} tokens, not enough for one window of ${seqLen}; ` +
        `give more text or a --seq-len of at most ${ids.length}`,
    )
  // A part of a text that is too short stays to measure on: a result needs its loss more than some windows.
  const used = Math.min(wanted, available - Math.min(heldOut, Math.floor(available / MEASURED)))
  const taken = which === 'spread' ? spread(available, used) : Array.from({ length: used }, (_, i) => i)
  const isTaken = new Set(taken)
  const left = Array.from({ length: available }, (_, i) => i).filter(i => !isTaken.has(i))
  const others = spread(left.length, Math.min(heldOut, left.length)).map(i => left[i])
  const [windows, rest] = [taken, others].map(indices => indices.map(i => windowAt(ids, seqLen, i)))
  for (const window of [...windows, ...rest]) checkVocabulary(name, window, vocabularySize)
  return { windows, heldOut: rest, text: { name, tokens: ids.length, available, used, heldOut: rest.length, source } }
}

function checkVocabulary(name: string, window: Int32Array, vocabularySize: number): void {
  for (const id of window)
    if (id < 0 || id >= vocabularySize)
      throw new UnsupportedModelError(
        `${name}: the tokenizer gives token ${id}, but the model's vocabulary has ids 0 to ${vocabularySize - 1}; ` +
          'use the tokenizer that the model was trained with',
      )
}

function checkCount(what: string, value: number, least: number): void {
  if (!Number.isSafeInteger(value) || value < least)
    throw new UsageError(`${what} ${value} is not a whole number of at least ${least}`)
}
