// What Node opens: models at paths and on the Hub, text files, engines of this machine.
import { openEngine } from '../engine/engine.node.ts'
import type { Engine, EngineOptions } from '../engine/engine.ts'
import { type OpenOptions, openCheckpointEvents } from '../hub/open.node.ts'
import type { NamedText } from '../text/calibration.ts'
import { checkTexts, readText } from '../text/text.node.ts'
import { bindVerbs } from './verbs.ts'

/** The engine to work on: one that is open, or one of these options, which is closed at the end. */
export interface EngineChoice extends EngineOptions {
  /** An open engine, which stays open; other options of engines do nothing then. */
  readonly engine?: Engine
  readonly signal?: AbortSignal
}

/** A text file (.txt, .jsonl, .parquet, .gz of these), or a text. */
export type TextInput = string | NamedText

export const asText = (text: TextInput): NamedText =>
  typeof text === 'string' ? { name: text, text: () => readText(text) } : text

/** Reads text files that are wanted later, so that one that cannot be read is known before a long part. @throws TextError */
export const checkTextFiles = (texts: readonly TextInput[] = []): Promise<void> =>
  checkTexts(texts.filter(text => typeof text === 'string'))

export const nodeVerbs = bindVerbs<string, TextInput, OpenOptions, EngineChoice>({
  checkpoint: openCheckpointEvents,
  engine: openEngine,
  text: asText,
})
