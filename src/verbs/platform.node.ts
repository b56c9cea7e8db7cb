// What Node opens: models at paths and on the Hub, text files, engines of this machine.
import type { Progress } from '../base/events.ts'
import { openEngine } from '../engine/engine.node.ts'
import type { Engine, EngineOptions } from '../engine/engine.ts'
import { type OpenOptions, openCheckpointEvents } from '../hub/open.node.ts'
import { findTexts, type Purpose } from '../hub/texts.node.ts'
import type { NamedText } from '../text/calibration.ts'
import { namedText } from '../text/text.node.ts'
import { checkMemory } from './memory.node.ts'
import { bindVerbs, type ChosenEngine, leave } from './verbs.ts'

export interface EngineChoice {
  /** What multiplies, and where; or an open engine, which stays open. @default this machine's CPU */
  readonly engine?: EngineOptions | Engine
  readonly signal?: AbortSignal
}

export const isOpen = (engine: EngineOptions | Engine): engine is Engine => 'run' in engine

/** The engine of a choice, opened unless it is open. @throws MemoryError where its threads have no room */
export function choose({ engine = {} }: EngineChoice): ChosenEngine {
  if (isOpen(engine)) return { engine, [Symbol.asyncDispose]: leave }
  checkMemory('prune', 'ONNX Runtime', 0, engine.threads)
  const opened = openEngine(engine)
  return { engine: opened, [Symbol.asyncDispose]: () => opened.close() }
}

/** A text file (.txt, .jsonl, .parquet, .gz), a data set (`wikitext2`, `c4`, `hf:org/name/config:split`), or a text. */
export type TextInput = string | NamedText

/** Finds and reads texts that are wanted later. @throws as `findTexts` */
export async function* openTexts(
  texts: readonly TextInput[] = [],
  purpose: Purpose,
  options: OpenOptions = {},
): Progress<NamedText[]> {
  const names = texts.filter(text => typeof text === 'string')
  const files = yield* findTexts(names, purpose, options)
  return texts.map(text => (typeof text === 'string' ? namedText(files[names.indexOf(text)]) : text))
}

export const nodeVerbs = bindVerbs<string, TextInput, OpenOptions, EngineChoice>({
  checkpoint: openCheckpointEvents,
  engine: choose,
  texts: (texts, options) => openTexts(texts, 'evaluation', options),
})
