// What Node opens: models at paths and on the Hub, text files, engines of this machine.
import { openEngine } from '../engine/engine.node.ts'
import type { Engine, EngineOptions } from '../engine/engine.ts'
import { type OpenOptions, openCheckpointEvents } from '../hub/open.node.ts'
import type { NamedText } from '../text/calibration.ts'
import { checkTexts, readText } from '../text/text.node.ts'
import { bindVerbs, type ChosenEngine, leave } from './verbs.ts'

export interface EngineChoice {
  /** What multiplies, and where; or an open engine, which stays open. @default this machine's CPU */
  readonly engine?: EngineOptions | Engine
  readonly signal?: AbortSignal
}

export const isOpen = (engine: EngineOptions | Engine): engine is Engine => 'run' in engine

/** The engine of a choice, opened unless it is open. */
export function choose({ engine = {} }: EngineChoice): ChosenEngine {
  if (isOpen(engine)) return { engine, [Symbol.asyncDispose]: leave }
  const opened = openEngine(engine)
  return { engine: opened, [Symbol.asyncDispose]: () => opened.close() }
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
  engine: choose,
  text: asText,
})
