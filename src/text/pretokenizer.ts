// Makes `@huggingface/tokenizers` give the ids of the Rust tokenizers, fast on texts of megabytes. Both changes work on
// `tokenizer.json` as data, and are exact:
// - Corrections. \s and \d of JavaScript are not Rust's classes: pre-tokenizers that the library builds on them become
//   `Split` with the pattern spelled out. Metaspace with `split` cuts before every replacement character, which the
//   library ignores. A `$` in what `Replace` puts in is a `$`. No pattern matches inside a surrogate pair.
// - Cuts. Where no match of the pre-tokenizer reaches from a visible character to a space after it, the text is cut;
//   where no merge can join two characters, BPE treats both sides alone, and a word can be cut.

type Json = Readonly<Record<string, unknown>>

/** The pattern of GPT-2, with which `ByteLevel` splits. */
const GPT2 = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
const LLAMA3 = (numbers: string) =>
  String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|${numbers}|` +
  String.raw` ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

/** Patterns that match everything. A space begins a match or follows white space; only white space looks ahead. */
const SPACE_BEGINS_A_MATCH: ReadonlySet<unknown> = new Set([
  GPT2,
  LLAMA3(String.raw`\p{N}{1,3}`), // Llama 3
  LLAMA3(String.raw`\p{N}`), // Qwen 2
])
/** Patterns without spaces or lookaround: what they do on one side of a space has nothing to do with the other side. */
const NUMBERS: ReadonlySet<unknown> = new Set([String.raw`\p{N}`, String.raw`\p{N}+`])

const split = (regex: string): Json => ({
  type: 'Split',
  pattern: { Regex: regex },
  behavior: 'Isolated',
  invert: false,
})
const PREFIX_SPACE: Json = { type: 'Replace', pattern: { Regex: String.raw`\A(?! )` }, content: ' ' }
const sequence = (...pretokenizers: Json[]): Json => ({ type: 'Sequence', pretokenizers })

/** The same pre-tokenizer in forms that the library handles as the Rust tokenizers do. */
export function correctPreTokenizer(config: Json | null): Json | null {
  switch (config?.type) {
    case 'Sequence':
      return sequence(...(config.pretokenizers as Json[]).map(part => correctPreTokenizer(part)!))
    case 'Digits':
      return split(config.individual_digits ? String.raw`\p{N}` : String.raw`\p{N}+`)
    case 'ByteLevel': {
      if (!config.add_prefix_space && config.use_regex === false) return config
      const before = config.add_prefix_space ? [PREFIX_SPACE] : []
      const words = config.use_regex === false ? [] : [split(GPT2)]
      return sequence(...before, ...words, { ...config, add_prefix_space: false, use_regex: false })
    }
    case 'Metaspace': {
      if (config.split === false) return config
      const mark = (config.replacement as string | undefined) ?? '\u2581'
      return sequence(config, split(`${mark}[^${mark}]*`))
    }
    default:
      return config
  }
}

/** The same part with texts of `Replace` that JavaScript takes as they are. */
export const literalContents = (part: unknown): unknown =>
  JSON.parse(JSON.stringify(part ?? null), (_, value) =>
    value?.type === 'Replace' ? { ...value, content: value.content.replaceAll('$', '$$$$') } : value,
  )

/** V8 tries a pattern inside a surrogate pair, where one without width can match: this one goes on after the pair. */
class WholeCharacters extends RegExp {
  override exec(text: string): RegExpExecArray | null {
    for (;;) {
      const found = super.exec(text)
      if (!found || !/^[\ud800-\udbff][\udc00-\udfff]/.test(text.slice(found.index - 1, found.index + 1))) return found
      this.lastIndex = found.index + 1
    }
  }
}

const PAIRS = ['a', '1', ' ', '!'].flatMap(before => ['\u{1f680}', '\u{1d44e}', '\u{20000}'].map(pair => before + pair))

/** The same pattern, slower where it would match inside a surrogate pair. */
export function outsidePairs(pattern: RegExp): RegExp {
  const tears = PAIRS.some(text => {
    const found = new RegExp(pattern)
    found.lastIndex = 1
    return found.exec(text)?.index === 2
  })
  return tears ? new WholeCharacters(pattern) : pattern
}

/**
 * Parts of a text at added tokens, with those that must be a word joined to the text around them where they are in one.
 * Source: tokenizers, added_vocabulary.rs.
 */
export function joinInWords(
  parts: readonly string[],
  added: ReadonlySet<string>,
  words: ReadonlySet<string>,
): string[] {
  const joined: string[] = []
  let isText = false // the last of them
  for (const [i, part] of parts.entries()) {
    const inWord = words.has(part) && (WORD_ENDS.test(parts[i - 1] ?? '') || WORD_BEGINS.test(parts[i + 1] ?? ''))
    const more = inWord || !added.has(part)
    if (more && isText) joined.push(joined.pop() + part)
    else joined.push(part)
    isText = more
  }
  return joined
}

const WORD = String.raw`[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]`
const [WORD_BEGINS, WORD_ENDS] = [new RegExp(`^${WORD}`, 'u'), new RegExp(`${WORD}$`, 'u')]

/** Whether a text may be cut before a space after a visible character without a change of its ids. */
export function cutsBeforeSpace(tokenizer: Json): boolean {
  const added = (tokenizer.added_tokens ?? []) as Json[]
  // An added token is looked for in the whole text: it must not reach over a cut, nor strip what is beyond it.
  const reaches = (token: Json) => token.lstrip || token.rstrip || token.single_word || /\S /.test(`${token.content}`)
  if (added.some(reaches)) return false
  const parts = flatten(correctPreTokenizer(tokenizer.pre_tokenizer as Json | null))
  const patterns = parts.filter(isolates).map(part => (part.pattern as Json).Regex)
  return (
    tokenizer.normalizer === null &&
    parts.every(part => isolates(part) || part.type === 'ByteLevel') &&
    patterns.every(pattern => SPACE_BEGINS_A_MATCH.has(pattern) || NUMBERS.has(pattern)) &&
    patterns.some(pattern => SPACE_BEGINS_A_MATCH.has(pattern))
  )
}

const flatten = (config: Json | null): Json[] =>
  config === null ? [] : config.type === 'Sequence' ? (config.pretokenizers as Json[]).flatMap(flatten) : [config]

const isolates = (config: Json): boolean => config.type === 'Split' && config.behavior === 'Isolated' && !config.invert

/** The pieces of `text` between cuts before a space that follows a visible character. Joined, they are `text`. */
export function* piecesBeforeSpace(text: string): Generator<string> {
  let start = 0
  for (let space = text.indexOf(' ', 1); space > 0; space = text.indexOf(' ', space + 1)) {
    if (WHITE_SPACE.test(text[space - 1])) continue
    yield text.slice(start, space)
    start = space
  }
  if (start < text.length) yield text.slice(start)
}

/** JavaScript's \s and the one character of White_Space that it lacks; U+FEFF, which only \s has, does no harm. */
const WHITE_SPACE = /[\s\u0085]/

/** Cuts one long pre-token where no merge of the model can join the two characters. */
export class MergeCutter {
  /** First characters that some merge puts after the key. */
  private readonly joined = new Map<string, Set<string>>()

  /** @param merges of `model.merges`: "left right" or [left, right] */
  constructor(merges: readonly (string | readonly [string, string])[]) {
    for (const merge of merges) {
      const [left, right] = typeof merge === 'string' ? merge.split(' ', 2) : merge
      const last = Array.from(left).at(-1)!
      const followers = this.joined.get(last)
      if (followers) followers.add(firstCharacter(right))
      else this.joined.set(last, new Set([firstCharacter(right)]))
    }
  }

  /** The pieces of `text`; joined, they are `text`. */
  cut(text: string): string[] {
    const pieces: string[] = []
    let start = 0
    let at = 0
    let followers: Set<string> | undefined
    for (const character of text) {
      if (at > start && !followers?.has(character)) {
        pieces.push(text.slice(start, at))
        start = at
      }
      followers = this.joined.get(character)
      at += character.length
    }
    if (start < text.length) pieces.push(text.slice(start))
    return pieces
  }
}

const firstCharacter = (text: string): string => String.fromCodePoint(text.codePointAt(0)!)
