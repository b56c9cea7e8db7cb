// Calibration and evaluation: a text → ids of as much of it as the windows need.
import { count } from '../base/display.ts'
import type { Progress } from '../base/events.ts'
import type { TextTokenizer } from './tokenizer.ts'

/** Of a longer text parts are read until there are tokens enough. A million tokens, which take some seconds. */
const PART_CHARACTERS = 2 ** 22
/** Places of a text that the parts are from. */
const PLACES = 64
/** What takes less than a second or so is not told. */
const TOLD_CHARACTERS = 2 ** 20

export interface Read {
  readonly ids: Int32Array
  /** What was read of the text. */
  readonly text: string
}

/**
 * Ids of a text, or of parts of a long one that give `wanted` tokens.
 * @param which parts: spread over the text, or its beginning
 */
export async function* tokenize(
  tokenizer: TextTokenizer,
  name: string,
  text: string,
  { wanted, which, signal }: { wanted: number; which: 'spread' | 'first'; signal?: AbortSignal },
): Progress<Read> {
  for (let characters = wanted === Infinity ? Infinity : PART_CHARACTERS; ; characters *= 2) {
    const part = partOf(text, characters, which)
    const ids = yield* encode(tokenizer, name, part, signal)
    if (ids.length < wanted && part.length < text.length) continue
    if (which === 'spread' && part.length < text.length)
      yield {
        type: 'notice',
        message: `${name}: ${count(part.length)} of ${count(text.length)} characters are read, spread over the text.`,
      }
    return { ids, text: part }
  }
}

async function* encode(
  tokenizer: TextTokenizer,
  name: string,
  text: string,
  signal?: AbortSignal,
): Progress<Int32Array> {
  const told = text.length > TOLD_CHARACTERS
  if (told) yield { type: 'phase', phase: 'read text', total: text.length, unit: 'characters' }
  const steps = tokenizer.encodeSteps(text, name)
  for (;;) {
    const step = steps.next()
    if (step.done) return step.value
    if (told) yield { type: 'progress', done: step.value }
    await new Promise(resolve => setTimeout(resolve)) // lets a signal come in
    signal?.throwIfAborted()
  }
}

/** Some `characters` of a longer text, in whole lines. */
function partOf(text: string, characters: number, which: 'spread' | 'first'): string {
  if (text.length <= characters) return text
  const places = which === 'first' ? 1 : PLACES
  const starts = Array.from({ length: places }, (_, i) => lineStart(text, Math.floor((i * text.length) / places)))
  return starts
    .map((start, i) =>
      text.slice(start, Math.min(lineStart(text, start + characters / places), starts[i + 1] ?? Infinity)),
    )
    .join('')
}

/** Where the first line after `at` begins; for a text without lines the first word. */
function lineStart(text: string, at: number): number {
  if (at === 0) return 0
  for (const end of ['\n', ' ']) {
    const found = text.indexOf(end, at - 1)
    if (found >= 0 && found - at < TOLD_CHARACTERS) return end === ' ' ? found : found + 1
  }
  return at
}
