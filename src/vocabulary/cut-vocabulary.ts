// A model with a smaller vocabulary: texts → their tokens → the tokens that these need (needs.ts) → the checkpoint with
// their rows alone (renumber.ts). A text of kept tokens keeps its ids, renumbered, and its logits. Other texts are
// spelled in more, smaller tokens.
import { count, percent, shortNames } from '../base/display.ts'
import { TextError, UsageError } from '../base/errors.ts'
import type { Progress } from '../base/events.ts'
import type { Checkpoint, VocabularyCut } from '../checkpoint/checkpoint.ts'
import { describeModel, type Model } from '../model/model.ts'
import { checkRange } from '../options/options.ts'
import type { NamedText } from '../text/calibration.ts'
import { chatTemplate, encodePrompt } from '../text/chat.ts'
import { tokenize } from '../text/tokenize.ts'
import { loadTokenizer, PROBE, type TextTokenizer } from '../text/tokenizer.ts'
import { type Needs, needsOf } from './needs.ts'
import { namedIds, renumber } from './renumber.ts'

/** Which tokens stay. */
export interface VocabularyChoice<Text = NamedText> {
  /** Texts whose tokens stay. */
  readonly keep: readonly Text[]
  /** Tokens at most: of those of the texts the most frequent ones. @default all of the texts */
  readonly size?: number
}

export interface VocabularyOptions extends VocabularyChoice {
  /** Texts besides that tokens per word are counted on. @default none */
  readonly text?: readonly NamedText[]
  readonly signal?: AbortSignal
}

/** Of each text so many characters are measured, which take part of a second. */
const MEASURED_CHARACTERS = 2 ** 20
/** More tokens than this on a text is told. */
const TOLD_GROWTH = 0.02

/** @throws TextError, UsageError, UnsupportedModelError */
export async function* cutVocabularyEvents(
  model: Model,
  { keep, size = Number.POSITIVE_INFINITY, text: others = [], signal }: VocabularyOptions,
): Progress<Model> {
  checkRange('the size of the vocabulary', size, 1, Number.POSITIVE_INFINITY, false)
  const { checkpoint, architecture: a } = model
  const needs = needsOf(checkpoint.name, checkpoint.tokenizer)
  const tokenizer = loadTokenizer(checkpoint)
  const counts = new Map<number, number>()
  for (const text of keep) {
    const contents = await text.text()
    if (contents.trim() === '') throw new TextError(`${text.name}: no text in it; give one whose tokens are to stay.`)
    const reading = { wanted: Number.POSITIVE_INFINITY, which: 'first', signal } as const
    const { ids } = yield* tokenize(tokenizer, text.name, contents, reading)
    for (const id of ids) counts.set(id, (counts.get(id) ?? 0) + 1)
  }
  const must = [...needs.always, ...namedIds(checkpoint), ...usualIds(checkpoint, tokenizer).flatMap(needs.of)]
  const kept = choose(needs, must, counts, { size, rows: a.vocabularySize })
  const cut = describeModel(renumber(model, kept))
  const other = loadTokenizer(cut.checkpoint)
  const all = [...keep, ...others].filter(({ name }, i, some) => some.findIndex(one => one.name === name) === i)
  const names = shortNames(all.map(({ name }) => name))
  const texts: VocabularyCut['texts'][number][] = []
  for (const [i, text] of all.entries())
    texts.push({ name: names[i], tokensPerWord: perWord(text.name, await text.text(), tokenizer, other) })
  const tokens = { before: a.vocabularySize, after: kept.length }
  for (const { name, tokensPerWord: of } of texts)
    if (of.after > of.before * (1 + TOLD_GROWTH))
      yield {
        type: 'notice',
        message:
          `${name}: ${percent(of.after / of.before - 1)} more tokens with a vocabulary of ${count(kept.length)}; ` +
          'it is read more slowly, and perplexities a token are not comparable. ' +
          'Keep more tokens, or more text like it.',
      }
  const parameters = (tokens.before - tokens.after) * a.embeddingSize * (a.tied ? 1 : 2)
  return { ...cut, checkpoint: { ...cut.checkpoint, vocabulary: { tokens, parameters, texts } } }
}

/** Ids of what a chat template puts around messages, and of the probe for splitting rules (write/gguf/tokenizer.ts). */
function usualIds(checkpoint: Checkpoint, tokenizer: TextTokenizer): number[] {
  const chat = chatTemplate(checkpoint) ? encodePrompt(checkpoint, tokenizer, [{ role: 'user', content: 'a' }]).ids : []
  return [...tokenizer.encode(PROBE), ...chat]
}

function choose(
  needs: Needs,
  must: readonly number[],
  counts: ReadonlyMap<number, number>,
  { size, rows }: { readonly size: number; readonly rows: number },
): Int32Array {
  const kept = new Set(must.filter(id => id >= 0 && id < rows))
  if (kept.size > size)
    throw new UsageError(
      `a vocabulary of ${size} tokens is too small: bytes, special and added tokens, and what a tokenizer is told by ` +
        `take ${kept.size}. Ask for more.`,
    )
  for (const [id] of [...counts].sort((x, y) => y[1] - x[1] || x[0] - y[0])) {
    const more = needs.of(id).filter(one => !kept.has(one) && one < rows)
    if (kept.size + more.length <= size) for (const one of more) kept.add(one)
  }
  return Int32Array.from(kept).sort()
}

function perWord(name: string, text: string, ...[before, after]: readonly TextTokenizer[]) {
  const sample = text.slice(0, MEASURED_CHARACTERS)
  const words = sample.match(/\S+/g)?.length || 1
  const per = (tokenizer: TextTokenizer) => tokenizer.encode(sample, name, { around: false }).length / words
  return { before: per(before), after: per(after) }
}
