// Where calibration windows come from: given ready made, cut from texts, or written by the model itself.
import type { ProgressEvent } from '../events.ts'
import type { Context } from '../forward/context.ts'
import type { Model } from '../model/model.ts'
import { sampleWindows } from './sample.ts'
import { loadTokenizer } from './tokenizer.ts'
import { calibrationWindows, type Windows } from './windows.ts'

export interface CalibrationInput {
  /** Windows, ready made. */
  readonly windows?: Windows
  /** Texts, in equal shares. Without any, and without windows, the model writes its own. */
  readonly texts?: readonly CalibrationText[]
}

/** A text that is read when its turn comes. */
export interface CalibrationText {
  readonly name: string
  read(): Promise<string>
}

export type CalibrationSource = 'windows' | 'texts' | 'self'

export const calibrationSource = ({ windows, texts }: CalibrationInput): CalibrationSource =>
  windows ? 'windows' : texts ? 'texts' : 'self'

/** @throws TextError, UnsupportedModelError */
export async function* calibration(
  context: Context,
  model: Model,
  { windows, texts }: CalibrationInput,
  options: { readonly samples: number; readonly seqLen: number; readonly heldOut: number; readonly seed: number },
): AsyncGenerator<ProgressEvent, Windows> {
  // In any case, and first: the result goes with it.
  const tokenizer = loadTokenizer(model.checkpoint)
  if (windows) return windows
  if (!texts) return yield* sampleWindows(context, model, options)
  const tokenized = []
  for (const { name, read } of texts) tokenized.push({ name, ids: tokenizer.encode(await read(), name) })
  const { seqLen, samples, heldOut } = options
  return calibrationWindows(tokenized, seqLen, samples, model.architecture.vocabularySize, heldOut)
}
