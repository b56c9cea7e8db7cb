// A string → token ids, as AutoTokenizer of transformers gives them. `@huggingface/tokenizers` does the work;
// `pretokenizer.ts` makes it exact and lets long texts be cut.
import { Tokenizer } from '@huggingface/tokenizers'
import { FaspError, TextError, UnsupportedModelError } from '../base/errors.ts'
import { quote } from '../base/json.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { checkTokenizer } from './check-tokenizer.ts'
import {
  correctPreTokenizer,
  cutsBeforeSpace,
  joinInWords,
  literalContents,
  MergeCutter,
  outsidePairs,
  piecesBeforeSpace,
} from './pretokenizer.ts'

export interface TextTokenizer {
  /**
   * Ids of `text`, with the BOS (and whatever else) that the tokenizer adds around one sequence.
   * @param name of the text, for messages
   * @param options `around: false` adds nothing
   * @throws TextError for a word longer than any text has
   */
  encode(text: string, name?: string, options?: { readonly around?: boolean }): Int32Array
  /** `encode` in steps of part of a second, where the tokenizer allows. Yields the characters that are done. */
  encodeSteps(text: string, name?: string, options?: { readonly around?: boolean }): Generator<number, Int32Array>
  /** Text of `ids`. `skipSpecial` leaves special tokens out. @default skipSpecial true */
  decode(ids: ArrayLike<number>, options?: { skipSpecial?: boolean }): string
  /** The BOS, or else the EOS: what a text without a beginning of its own is conditioned on. */
  readonly prefixToken: number | undefined
  /** One more than the largest id. The model's embedding may have more rows. */
  readonly vocabularySize: number
}

type Json = Readonly<Record<string, unknown>>
type Source = Pick<Checkpoint, 'name' | 'tokenizer' | 'tokenizerConfig' | 'within'>

/** Words of a text repeat: their ids are kept, and dropped all at once when there are this many (some tens of MB). */
const MAX_CACHED_PIECES = 2 ** 17
/** Longer pieces, such as text without spaces, hardly repeat. */
const MAX_CACHED_LENGTH = 64

/** A text with what rules for splitting words treat differently: digits, cases, apostrophes, spaces, marks, scripts. */
export const PROBE =
  "Once upon a time, in 1987, 12 or 3456789 people (the \"BIG-five\") didn't know; WE'LL see what they've got.\n\n" +
  '  if (x[i] != 0) {\n\treturn f(x) / 1e-05; // naïve café — £5\n  }\r\n \n   3.14 33 333 3333 33333 ' +
  'camelCaseWords HTTPServer ' +
  "I'm  two   spaces ...!!!??? ------ ==== _under_scores_ #tag @name a/b\\c, Привет мир 12 лет, 你好世界123, " +
  'مرحبا, नमस्ते, 🚀🦙👍🏽 e\u0301\n'
/** Long runs, which patterns that backtrack take exponentially long for. */
const RUNS = ['a', 'A', '1', '=', ' ', '\n', '语'].map(character => character.repeat(64)).join('')

/**
 * Seconds that end what takes for ever. Measured on two cores: 3 µs an entry of vocabulary and merges; 1 µs a character
 * of text, up to 45 in long or rare words, and five times as much on busy cores.
 */
const ALLOWANCE = { seconds: 10, perEntry: 1e-4, perCharacter: 3e-4 }

/** A step of a long text: a third of a second, by the same measure. */
const STEP_CHARACTERS = 2 ** 18

/**
 * The library takes 7 to 45 µs and 800 bytes a character of a word: a word of this length takes seconds and 100 MB. No
 * text has such a word; data may: DNA, blanks.
 */
const MAX_WORD = 2 ** 17

/** @throws UnsupportedModelError for a tokenizer that cannot be built, or does not come to an end */
export function loadTokenizer(checkpoint: Source): TextTokenizer {
  const { tokenizer: json, tokenizerConfig } = checkpoint
  const entries = bounded(checkpoint, 0, () => checkTokenizer(json, tokenizerConfig))
  return bounded(checkpoint, ALLOWANCE.perEntry * entries, () => {
    const tokenizer = wrap(build(json, tokenizerConfig), cutsBeforeSpace(json), checkpoint)
    tokenizer.decode(tokenizer.encode(PROBE + RUNS))
    return tokenizer
  })
}

/** Does work on a tokenizer, in bounded time where the checkpoint can bound it. Foreign errors are its fault. */
function bounded<T>({ name, within }: Source, extra: number, work: () => T): T {
  const seconds = Math.ceil(ALLOWANCE.seconds + extra)
  const unusable = (problem: string, options?: ErrorOptions) =>
    new UnsupportedModelError(
      `${name}: its tokenizer.json cannot be used (${problem}); export the tokenizer with a recent transformers: ` +
        'AutoTokenizer.from_pretrained(…).save_pretrained(…)',
      options,
    )
  try {
    return within ? within(seconds, work, () => unusable(`no end after ${seconds} seconds`)) : work()
  } catch (cause) {
    throw cause instanceof FaspError ? cause : unusable((cause as Error).message, { cause })
  }
}

function build(json: Json, config: Json): Tokenizer {
  const pre = json.pre_tokenizer as Json | null
  const tokenizer = new Tokenizer(
    {
      ...json,
      normalizer: literalContents(json.normalizer),
      pre_tokenizer: literalContents(correctPreTokenizer(pre)),
      decoder: literalContents(json.decoder),
    } as ConstructorParameters<typeof Tokenizer>[0],
    config,
  )
  for (const part of [tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder])
    for (const step of part ? steps(part as unknown as Step) : [])
      if (step.pattern instanceof RegExp) step.pattern = outsidePairs(step.pattern)
  keepWords(tokenizer)
  const model = json.model as Json
  // SentencePiece has no pre-tokenizer that splits: BPE would take the whole text as one word, ten times slower.
  const oneWord = pre === null || (pre.type === 'Metaspace' && pre.split === false)
  const cuttable = model.type === 'BPE' && !model.ignore_merges && !model.end_of_word_suffix
  limitWords(tokenizer, cuttable ? (model.merges as string[]) : undefined, oneWord ? 0 : MAX_WORD)
  return tokenizer
}

/** A normalizer, pre-tokenizer or decoder of the library. */
interface Step {
  readonly config?: { readonly type?: string }
  pattern?: unknown
  /** Of a sequence. */
  readonly tokenizers?: readonly Step[]
  readonly normalizers?: readonly Step[]
  readonly decoders?: readonly Step[]
  pre_tokenize(text: string | string[], options?: object): string[]
}

const steps = (step: Step): Step[] => (step.tokenizers ?? step.normalizers ?? step.decoders)?.flatMap(steps) ?? [step]

/** Added tokens that must be a word are none inside one. */
function keepWords(tokenizer: Tokenizer): void {
  const { normalizer: change, ...parts } = tokenizer
  const all = [...tokenizer.get_added_tokens_decoder().values()]
  const contentsOf = (tokens: typeof all) => new Set(tokens.flatMap(({ content: c }) => [c, change?.(c) ?? c]))
  const words = contentsOf(all.filter(token => token.single_word))
  if (words.size === 0) return
  const added = contentsOf(all)
  const splitters = parts as unknown as Record<string, { split(text: string): string[] }>
  for (const splitter of [splitters.splitter_unnormalized, splitters.splitter_normalized]) {
    const split = splitter.split.bind(splitter)
    splitter.split = text => joinInWords(split(text), added, words)
  }
}

/**
 * Has words longer than `cutFrom` cut where no merge can join, and refuses those that remain longer than any text has:
 * before they are spelled in bytes, and before the model.
 */
function limitWords({ pre_tokenizer: pre, model }: Tokenizer, merges: string[] | undefined, cutFrom: number): void {
  for (const step of pre ? steps(pre as unknown as Step) : []) {
    if (step.config?.type !== 'ByteLevel') continue
    const spell = step.pre_tokenize
    step.pre_tokenize = (text, options) => spell.call(step, checkWords([text].flat()), options)
  }
  const encode = model!.encode
  let cutter: MergeCutter | undefined
  const cut = (word: string) => {
    if (merges === undefined || word.length <= cutFrom) return word
    return (cutter ??= new MergeCutter(merges)).cut(word)
  }
  model!.encode = (words: string[]) => encode.call(model, checkWords(words.flatMap(cut)))
}

class LongWord extends Error {
  /** @param place characters before the word, where the library was given a part of a text */
  constructor(
    readonly word: string,
    readonly place: number,
  ) {
    super('a word is too long')
  }

  /** @param at characters before that part */
  in(name: string, at: number): TextError {
    return new TextError(
      `${name}: from about character ${at + this.place} on, ${this.word.length} characters (${quote(this.word)}) are ` +
        `one word to the tokenizer; at most ${MAX_WORD} are allowed. ` +
        'Take such data out of the text, or break it into lines.',
    )
  }
}

/** @throws LongWord */
function checkWords(words: string[]): string[] {
  let before = 0
  for (const word of words) {
    if (word.length > MAX_WORD) throw new LongWord(word, before)
    before += word.length
  }
  return words
}

function wrap(tokenizer: Tokenizer, cuttable: boolean, checkpoint: Source): TextTokenizer {
  const { tokenizerConfig: config } = checkpoint
  const bare = (text: string): number[] => tokenizer.encode(text, { add_special_tokens: false }).ids
  // What the post-processor puts around a sequence: it is the same for every text.
  const inside = bare('a')
  const around = tokenizer.encode('a').ids
  if (!around.every(Number.isInteger)) throw new Error('post_processor adds a token that has no id')
  const before = around.slice(0, Math.max(0, around.indexOf(inside[0])))
  const after = around.slice(before.length + inside.length)
  const cache = new Map<string, number[]>()
  const piece = (text: string): number[] => {
    if (text.length > MAX_CACHED_LENGTH) return bare(text)
    let ids = cache.get(text)
    if (ids === undefined) {
      if (cache.size >= MAX_CACHED_PIECES) cache.clear()
      cache.set(text, (ids = bare(text)))
    }
    return ids
  }

  function* encodeSteps(
    text: string,
    name = 'the text',
    { around: added = true }: { readonly around?: boolean } = {},
  ): Generator<number, Int32Array> {
    const whole = !cuttable || inside.length === 0
    const ids = new IdList()
    if (!whole && added) ids.push(before)
    let at = 0
    for (const parts of whole ? [[text]] : inSteps(piecesBeforeSpace(text))) {
      const length = parts.reduce((sum, part) => sum + part.length, 0)
      bounded(checkpoint, ALLOWANCE.perCharacter * length, () => {
        try {
          for (const part of parts) {
            ids.push(whole && added ? tokenizer.encode(part).ids : piece(part))
            at += part.length
          }
        } catch (error) {
          throw error instanceof LongWord ? error.in(name, at) : error
        }
      })
      yield at
    }
    if (!whole && added) ids.push(after)
    return ids.toArray()
  }

  return {
    prefixToken: [config.bos_token, config.eos_token].map(token => idOf(tokenizer, token)).find(id => id !== undefined),
    vocabularySize: tokenizer.model!.vocab.length,
    encode: (...args) => {
      const steps = encodeSteps(...args)
      for (;;) {
        const step = steps.next()
        if (step.done) return step.value
      }
    },
    encodeSteps,
    decode: (ids, { skipSpecial = true } = {}) =>
      bounded(checkpoint, ALLOWANCE.perCharacter * ids.length, () => {
        if (ids.length === 0) return ''
        // transformers leaves the spaces of BPE text as they are; the library would tidy them.
        return tokenizer.decode(Array.from(ids), {
          skip_special_tokens: skipSpecial,
          clean_up_tokenization_spaces: false,
        })
      }),
  }
}

/** Pieces in groups of so many characters or more. */
function* inSteps(pieces: Iterable<string>): Generator<string[]> {
  let [step, length]: [string[], number] = [[], 0]
  for (const piece of pieces) {
    step.push(piece)
    length += piece.length
    if (length < STEP_CHARACTERS) continue
    yield step
    ;[step, length] = [[], 0]
  }
  if (length > 0) yield step
}

/** @param token a string, or an object with the string as `content` */
function idOf(tokenizer: Tokenizer, token: unknown): number | undefined {
  const text = (token as { content?: unknown } | null | undefined)?.content ?? token
  return typeof text === 'string' ? tokenizer.token_to_id(text) : undefined
}

/** A growing Int32Array: a large text has more ids than an array of numbers holds comfortably. */
class IdList {
  private ids = new Int32Array(1024)
  private length = 0

  push(more: readonly number[]): void {
    if (this.length + more.length > this.ids.length) {
      const grown = new Int32Array(Math.max(this.ids.length * 2, this.length + more.length))
      grown.set(this.ids)
      this.ids = grown
    }
    this.ids.set(more, this.length)
    this.length += more.length
  }

  toArray(): Int32Array {
    return this.ids.slice(0, this.length)
  }
}
