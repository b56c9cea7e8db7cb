// Where calibration windows come from: given ready made, cut from texts, or written by the model itself.
import type { Progress } from '../base/events.ts'
import type { Context } from '../forward/context.ts'
import type { Model } from '../model/model.ts'
import { messageStart } from './chat.ts'
import { sampleWindows } from './sample.ts'
import { tokenize } from './tokenize.ts'
import { loadTokenizer, type TextTokenizer } from './tokenizer.ts'
import { calibrationWindows, equalShares, spread, type TextShare, type TextSource, type Windows } from './windows.ts'

export interface CalibrationInput {
  /** Windows, ready made. */
  readonly windows?: Windows
  /** Texts, in equal shares. Without any, and without windows, the model writes its own. */
  readonly texts?: readonly NamedText[]
}

/** Whether the model writes a text. */
export const writesText = ({ windows, texts }: CalibrationInput): boolean =>
  !windows && (!texts || texts.some(({ own }) => own))

/** What users give to calibrate on: texts, or windows ready made. */
export const textsOrWindows = <Text>(
  given: readonly Text[] | Windows | undefined,
): { readonly windows?: Windows; readonly texts?: readonly Text[] } =>
  given && 'windows' in given ? { windows: given } : { texts: given?.length && given.every(isOwn) ? undefined : given }

/** What stands for text that the model writes, among texts. */
export const OWN_NAME = 'self'
export const isOwn = (text: unknown): boolean => text === OWN_NAME || (text as NamedText).own === true

/** A text that is read when its turn comes. A `File` is one. */
export interface NamedText {
  readonly name: string
  readonly source?: TextSource
  /** Of the text, in hexadecimal. */
  readonly sha256?: string
  /** The model writes it, to calibrate on, and nothing else is read. */
  readonly own?: true
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
  /** As of `NamedText`; there is no file then. */
  readonly own?: true
}

export const OWN_TEXT: TextFile & NamedText = {
  ...{ name: OWN_NAME, path: '', sha256: OWN_NAME, own: true },
  text: async () => '',
}

export type CalibrationSource = 'windows' | 'texts' | 'self'

export const calibrationSource = ({ windows, texts }: CalibrationInput): CalibrationSource =>
  windows ? 'windows' : texts ? 'texts' : 'self'

/** @throws TextError, UnsupportedModelError */
export async function* calibration(
  context: Context,
  model: Model,
  { windows, texts: given }: CalibrationInput,
  options: { readonly windows: number; readonly seqLen: number; readonly heldOut: number; readonly seed: number },
): Progress<Windows> {
  // In any case, and first: the result goes with it.
  const tokenizer = loadTokenizer(model.checkpoint)
  if (windows) return windows
  const { seqLen, windows: count, heldOut, seed } = options
  const texts = given?.filter(({ own }) => !own) ?? []
  const own = given?.filter(({ own }) => own).length ?? 1
  const shares = equalShares(count, texts.length + own)
  const tokenized = []
  for (const [i, text] of texts.entries()) {
    const { name, source } = text
    const wanted = (shares[i] + heldOut) * seqLen
    const reading = { wanted, which: 'spread', signal: context.signal } as const
    tokenized.push({ name, source, ...(yield* tokenize(tokenizer, name, await text.text(), reading)) })
  }
  const ofOwn = shares.slice(texts.length).reduce((a, b) => a + b, 0)
  const vocabulary = model.architecture.vocabularySize
  const isAlone = texts.length === 0 && own > 0
  const read = isAlone ? undefined : calibrationWindows(tokenized, seqLen, count - ofOwn, vocabulary, heldOut)
  for (const [i, share] of (read?.texts ?? []).entries()) {
    const message = shortText(share, shares[i], heldOut, seqLen)
    if (message) yield { type: 'notice', message }
  }
  if (read && own === 0) return read
  const starts = read && startsOf(model, tokenizer, ofOwn + heldOut, read.windows)
  const written = yield* sampleWindows(context, model, { windows: ofOwn, heldOut, seqLen, seed, starts })
  return read ? joined(read, written) : written
}

/** Tokens of a text that the model goes on with. */
const START = 32

/** Beginnings of own texts, in turns: none, a window's, and a chat's before a message ("Magpie", 2406.08464). */
function startsOf({ checkpoint }: Model, tokenizer: TextTokenizer, count: number, windows: readonly Int32Array[]) {
  const message = messageStart(checkpoint, tokenizer)
  const places = spread(windows.length, count)
  const kinds: ((text: number) => Int32Array)[] = [
    () => new Int32Array(),
    text => windows[places[text]].subarray(0, START),
  ]
  if (message) kinds.push(() => message)
  return Array.from({ length: count }, (_, text) => kinds[text % kinds.length](text))
}

const joined = (one: Windows, other: Windows): Windows => ({
  seqLen: one.seqLen,
  windows: [...one.windows, ...other.windows],
  heldOut: [...(one.heldOut ?? []), ...(other.heldOut ?? [])],
  texts: [...one.texts, ...other.texts],
})

function shortText(
  { name, available, used, heldOut: held = 0 }: TextShare,
  wanted: number,
  heldOut: number,
  seqLen: number,
) {
  if (used === wanted && held === heldOut) return undefined
  const measured = held < heldOut ? `, and ${held} of ${heldOut} are left to measure on` : ''
  const there = `${name}: the text has ${available} windows of ${seqLen} tokens`
  return `${there}, ${wanted} to calibrate on are wanted${measured}. Give more text, or a smaller --seq-len.`
}
