// Calibration and evaluation: one string → token ids, as AutoTokenizer of transformers gives them.
// `@huggingface/tokenizers` does the work; `pretokenizer.ts` makes it exact and lets long texts be cut where that changes no id.
import { Tokenizer } from '@huggingface/tokenizers'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { UnsupportedModelError } from '../errors.ts'
import { correctPreTokenizer, cutsBeforeSpace, MergeCutter, piecesBeforeSpace } from './pretokenizer.ts'

export interface TextTokenizer {
  /** Ids of `text`, with the BOS (and whatever else) that the tokenizer adds around one sequence. */
  encode(text: string): Int32Array
  /** Text of `ids`. `skipSpecial` leaves special tokens out. @default skipSpecial true */
  decode(ids: ArrayLike<number>, options?: { skipSpecial?: boolean }): string
  /** The BOS, or else the EOS: what a text without a beginning of its own is conditioned on. */
  readonly prefixToken: number | undefined
  /** One more than the largest id. The model's embedding may have more rows. */
  readonly vocabularySize: number
}

type Json = Readonly<Record<string, unknown>>

/** Words of a text repeat: their ids are kept, and dropped all at once when there are this many (some tens of MB). */
const MAX_CACHED_PIECES = 2 ** 17
/** Longer pieces, such as text without spaces, hardly repeat. */
const MAX_CACHED_LENGTH = 64

/** @throws UnsupportedModelError for a tokenizer that cannot be built */
export function loadTokenizer(checkpoint: Pick<Checkpoint, 'name' | 'tokenizer' | 'tokenizerConfig'>): TextTokenizer {
  const { name, tokenizer: json, tokenizerConfig } = checkpoint
  try {
    return wrap(build(json, tokenizerConfig), cutsBeforeSpace(json), tokenizerConfig)
  } catch (cause) {
    throw new UnsupportedModelError(
      `${name}: its tokenizer.json cannot be used (${(cause as Error).message}); export the tokenizer with a recent transformers: AutoTokenizer.from_pretrained(…).save_pretrained(…)`,
      { cause },
    )
  }
}

function build(json: Json, config: Json): Tokenizer {
  const pre = json.pre_tokenizer as Json | null
  const tokenizer = new Tokenizer({ ...json, pre_tokenizer: correctPreTokenizer(pre) }, config)
  const model = json.model as Json
  // SentencePiece models have no pre-tokenizer that splits: BPE would work on the whole text as one word, ten times slower.
  const oneWord = pre === null || (pre.type === 'Metaspace' && pre.split === false)
  if (oneWord && model.type === 'BPE' && !model.ignore_merges && !model.end_of_word_suffix)
    cutWords(tokenizer, new MergeCutter(model.merges as string[]))
  return tokenizer
}

/** Lets the pre-tokenizer cut each of its words where no merge can join. The library calls it as a function. */
function cutWords(tokenizer: Tokenizer, cutter: MergeCutter): void {
  const split = tokenizer.pre_tokenizer as unknown as ((text: string, options?: object) => string[]) | null
  const cut = (text: string, options?: object): string[] => {
    const words = split ? split(text, options) : [text]
    return words.flatMap(word => cutter.cut(word))
  }
  tokenizer.pre_tokenizer = cut as unknown as Tokenizer['pre_tokenizer']
}

function wrap(tokenizer: Tokenizer, cuttable: boolean, config: Json): TextTokenizer {
  const bare = (text: string): number[] => tokenizer.encode(text, { add_special_tokens: false }).ids
  // What the post-processor puts around a sequence: it is the same for every text.
  const inside = bare('a')
  const around = tokenizer.encode('a').ids
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

  return {
    prefixToken: [config.bos_token, config.eos_token].map(token => idOf(tokenizer, token)).find(id => id !== undefined),
    vocabularySize: tokenizer.model!.vocab.length,
    encode(text) {
      if (!cuttable || inside.length === 0) return Int32Array.from(tokenizer.encode(text).ids)
      const ids = new IdList()
      ids.push(before)
      for (const part of piecesBeforeSpace(text)) ids.push(piece(part))
      ids.push(after)
      return ids.toArray()
    },
    decode(ids, { skipSpecial = true } = {}) {
      if (ids.length === 0) return ''
      // transformers leaves the spaces of BPE text as they are; the library would tidy them.
      return tokenizer.decode(Array.from(ids), {
        skip_special_tokens: skipSpecial,
        clean_up_tokenization_spaces: false,
      })
    },
  }
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
