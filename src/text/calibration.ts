// Where calibration windows come from: given ready made, cut from texts, or written by the model itself.
import type { ProgressEvent } from '../events.ts'
import type { Context } from '../forward/context.ts'
import type { Model } from '../model/model.ts'
import { sampleWindows } from './sample.ts'
import { tokenize } from './tokenize.ts'
import { loadTokenizer } from './tokenizer.ts'
import { calibrationWindows, equalShares, type TextShare, type TextSource, type Windows } from './windows.ts'

export interface CalibrationInput {
  /** Windows, ready made. */
  readonly windows?: Windows
  /** Texts, in equal shares. Without any, and without windows, the model writes its own. */
  readonly texts?: readonly NamedText[]
}

/** What users give to calibrate on: texts, or windows ready made. */
export const textsOrWindows = <Text>(
  given: readonly Text[] | Windows | undefined,
): { readonly windows?: Windows; readonly texts?: readonly Text[] } =>
  given && 'windows' in given ? { windows: given } : { texts: given }

/** A text that is read when its turn comes. A `File` is one. */
export interface NamedText {
  readonly name: string
  readonly source?: TextSource
  /** Of the text, in hexadecimal. */
  readonly sha256?: string
  text(): Promise<string>
}

/** Which documents of a file are taken, and how they become one text. */
export interface Reading {
  /** Documents at most. @default all */
  readonly documents?: number
  /** Characters after which no document is begun. @default none */
  readonly characters?: number
  /** Between two documents. @default an empty line */
  readonly separator?: string
}

/** A text in a file: plain data, which another process can be sent. */
export interface TextFile extends Reading {
  readonly name: string
  readonly path: string
  readonly source?: TextSource
  /** Of the text, in hexadecimal. */
  readonly sha256: string
}

export type CalibrationSource = 'windows' | 'texts' | 'self'

export const calibrationSource = ({ windows, texts }: CalibrationInput): CalibrationSource =>
  windows ? 'windows' : texts ? 'texts' : 'self'

/** @throws TextError, UnsupportedModelError */
export async function* calibration(
  context: Context,
  model: Model,
  { windows, texts }: CalibrationInput,
  options: { readonly windows: number; readonly seqLen: number; readonly heldOut: number; readonly seed: number },
): AsyncGenerator<ProgressEvent, Windows> {
  // In any case, and first: the result goes with it.
  const tokenizer = loadTokenizer(model.checkpoint)
  if (windows) return windows
  if (!texts) return yield* sampleWindows(context, model, options)
  const { seqLen, windows: count, heldOut } = options
  const shares = equalShares(count, texts.length)
  const tokenized = []
  for (const [i, text] of texts.entries()) {
    const { name, source } = text
    const wanted = (shares[i] + heldOut) * seqLen
    const reading = { wanted, which: 'spread', signal: context.signal } as const
    tokenized.push({ name, source, ...(yield* tokenize(tokenizer, name, await text.text(), reading)) })
  }
  const found = calibrationWindows(tokenized, seqLen, count, model.architecture.vocabularySize, heldOut)
  for (const [i, share] of found.texts.entries()) {
    const message = shortText(share, shares[i], heldOut, seqLen)
    if (message) yield { type: 'notice', message }
  }
  return found
}

function shortText(
  { name, available, used, heldOut: held = 0 }: TextShare,
  wanted: number,
  heldOut: number,
  seqLen: number,
) {
  if (used === wanted && held === heldOut) return undefined
  const measured = held < heldOut ? `, and ${held} of ${heldOut} are left to measure on` : ''
  return `${name}: the text has ${available} windows of ${seqLen} tokens, ${wanted} to calibrate on are wanted${measured}. Give more text, or a smaller --seq-len.`
}
