// tokenizer.json and tokenizer_config.json from the metadata of a GGUF file, by `tokenizer.ggml.model`: `gpt2` is
// byte-level BPE with merges; `llama` is SentencePiece BPE, whose merges follow from the scores as in transformers
// (`generate_merges`): every split of a piece into two pieces, best score of the whole first.
// Source: ggml/docs/gguf.md, llama.cpp src/llama-vocab.cpp (defaults), and the tokenizer.json of Llama 2 and of GPT-2.
import { UnsupportedModelError } from '../base/errors.ts'
import type { GgufMetadata } from './gguf-metadata.ts'
import { PRE_TOKENIZERS } from './gguf-pretokenizers.ts'

export interface GgufTokenizer {
  readonly tokenizer: Record<string, unknown>
  readonly config: Record<string, unknown>
}

/** `tokenizer.ggml.token_type` (llama.h, `enum llama_token_type`). */
const NORMAL = 1
const UNKNOWN = 2
const CONTROL = 3
const USER_DEFINED = 4

/** Each split of each piece is looked up: the sum of squared lengths. Gemma's 256,000 pieces have some 10⁷. */
const MAX_SPLIT_CHARACTERS = 2 ** 28

const SPACE = '▁' // ▁, the space of SentencePiece

interface Vocabulary {
  /** Text of each id, all different. */
  readonly tokens: readonly string[]
  readonly types: readonly number[]
  readonly ids: ReadonlyMap<string, number>
}

type Special = Partial<Record<'bos' | 'eos' | 'unk' | 'pad', number>>

/** @throws UnsupportedModelError for a kind of tokenizer or pre-tokenizer that we do not rebuild */
export function ggufTokenizer(metadata: GgufMetadata): GgufTokenizer {
  const model = metadata.text('tokenizer.ggml.model') ?? 'none'
  if (model === 'gpt2') return byteLevelTokenizer(metadata)
  if (model === 'llama') return sentencePieceTokenizer(metadata)
  throw new UnsupportedModelError(
    `${metadata.file}: tokenizer "${model}"; gpt2 (byte-level BPE) and llama (SentencePiece BPE) are supported. ` +
      'Use the Hugging Face folder of the model',
  )
}

function byteLevelTokenizer(metadata: GgufMetadata): GgufTokenizer {
  const pre = metadata.text('tokenizer.ggml.pre') ?? 'default'
  const known = PRE_TOKENIZERS.get(pre)
  if (known === undefined)
    throw new UnsupportedModelError(
      `${metadata.file}: pre-tokenizer "${pre}"; ${[...PRE_TOKENIZERS.keys()].join(', ')} are supported. ` +
        'Use the Hugging Face folder of the model',
    )
  const vocabulary = readVocabulary(metadata)
  const merges = metadata.need('tokenizer.ggml.merges', readMerges(metadata))
  const special = readSpecial(metadata, vocabulary, {})
  return assemble(metadata, vocabulary, special, known.addBos, {
    normalizer: known.normalizer,
    pre_tokenizer: known.preTokenizer,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { unk_token: null, fuse_unk: false, byte_fallback: false, ignore_merges: known.ignoreMerges, merges },
  })
}

function sentencePieceTokenizer(metadata: GgufMetadata): GgufTokenizer {
  const vocabulary = readVocabulary(metadata)
  const special = readSpecial(metadata, vocabulary, { bos: 1, eos: 2, unk: 0 })
  const prefix = metadata.flag('tokenizer.ggml.add_space_prefix') ?? true
  const spaces = { type: 'Replace', pattern: { String: ' ' }, content: SPACE }
  const decoders = [
    { type: 'Replace', pattern: { String: SPACE }, content: ' ' },
    { type: 'ByteFallback' },
    { type: 'Fuse' },
  ]
  const strip = { type: 'Strip', content: ' ', start: 1, stop: 0 }
  return assemble(metadata, vocabulary, special, true, {
    normalizer: { type: 'Sequence', normalizers: prefix ? [{ type: 'Prepend', prepend: SPACE }, spaces] : [spaces] },
    pre_tokenizer: null,
    decoder: { type: 'Sequence', decoders: prefix ? [...decoders, strip] : decoders },
    model: {
      unk_token: special.unk === undefined ? null : vocabulary.tokens[special.unk],
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      merges: readMerges(metadata) ?? mergesFromScores(metadata, vocabulary),
    },
  })
}

function readVocabulary(metadata: GgufMetadata): Vocabulary {
  const read = metadata.need('tokenizer.ggml.tokens', metadata.texts('tokenizer.ggml.tokens'))
  // llama.cpp gives empty tokens a name too; they can never match.
  const tokens = read.map((token, id) => (token === '' ? `[EMPTY_${id}]` : token))
  const types = metadata.counts('tokenizer.ggml.token_type') ?? tokens.map(() => NORMAL)
  if (tokens.length === 0 || types.length !== tokens.length)
    throw metadata.error(
      `tokenizer.ggml.tokens has ${tokens.length} entries, tokenizer.ggml.token_type ${types.length}`,
    )
  return { tokens, types, ids: new Map(tokens.map((token, id) => [token, id])) }
}

function readMerges(metadata: GgufMetadata): [string, string][] | undefined {
  return metadata.texts('tokenizer.ggml.merges')?.map(merge => {
    // The left part may start with a space in old files, so the separator is searched from the second character.
    const at = merge.indexOf(' ', 1)
    if (at < 0 || at === merge.length - 1)
      throw metadata.error(`the merge "${merge}" is not two tokens with a space between`)
    return [merge.slice(0, at), merge.slice(at + 1)]
  })
}

function readScores(metadata: GgufMetadata, { tokens, types }: Vocabulary): readonly number[] {
  const scores = metadata.need('tokenizer.ggml.scores', metadata.reals('tokenizer.ggml.scores'))
  if (scores.length !== tokens.length)
    throw metadata.error(`tokenizer.ggml.scores has ${scores.length} entries, tokenizer.ggml.tokens ${tokens.length}`)
  // llama.cpp's converter from tokenizer.json writes one score for all: ids are then in the order of the merges.
  const normal = scores.filter((_, id) => types[id] === NORMAL)
  return normal.every(score => score === normal[0]) ? tokens.map((_, id) => -id) : scores
}

/** Pieces that text can become are the normal ones; bytes, control tokens and the like are never made by merging. */
function mergesFromScores(metadata: GgufMetadata, vocabulary: Vocabulary): [string, string][] {
  const { tokens, types, ids } = vocabulary
  const scores = readScores(metadata, vocabulary)
  if (tokens.reduce((sum, { length }) => sum + length ** 2, 0) > MAX_SPLIT_CHARACTERS)
    throw metadata.error('tokenizer.ggml.tokens has tokens that are too long for merges to be made from scores')
  const normal = (piece: string) => {
    const id = ids.get(piece)
    return id !== undefined && types[id] === NORMAL ? id : undefined
  }
  const merges: { left: string; right: string; score: number; order: readonly number[] }[] = []
  tokens.forEach((token, id) => {
    if (types[id] !== NORMAL) return
    let at = 0
    for (const character of token) {
      at += character.length // splits between code points, not inside a surrogate pair
      const [left, right] = [token.slice(0, at), token.slice(at)]
      const [leftId, rightId] = [normal(left), normal(right)]
      if (leftId !== undefined && rightId !== undefined)
        merges.push({
          left,
          right,
          score: scores[id],
          order: [-codePoints(left), -codePoints(right), id, leftId, rightId],
        })
    }
  })
  merges.sort((a, b) => b.score - a.score || compare(a.order, b.order))
  return merges.map(({ left, right }) => [left, right])
}

const codePoints = (text: string): number => [...text].length

const compare = (a: readonly number[], b: readonly number[]): number => {
  const at = a.findIndex((value, i) => value !== b[i])
  return at < 0 ? 0 : a[at] - b[at]
}

const SPECIAL_KEYS = {
  bos: 'bos_token_id',
  eos: 'eos_token_id',
  unk: 'unknown_token_id',
  pad: 'padding_token_id',
} as const

function readSpecial(metadata: GgufMetadata, { tokens }: Vocabulary, defaults: Special): Special {
  const special: Special = {}
  for (const [role, key] of Object.entries(SPECIAL_KEYS) as [keyof Special, string][]) {
    const given = metadata.count(`tokenizer.ggml.${key}`)
    if (given !== undefined && given >= tokens.length)
      throw metadata.error(`tokenizer.ggml.${key} is ${given}, with ${tokens.length} tokens`)
    const id = given ?? defaults[role]
    if (id !== undefined && id < tokens.length) special[role] = id
  }
  return special
}

interface Parts {
  readonly normalizer: object | null
  readonly pre_tokenizer: object | null
  readonly decoder: object
  readonly model: object
}

function assemble(
  metadata: GgufMetadata,
  vocabulary: Vocabulary,
  special: Special,
  addBos: boolean,
  parts: Parts,
): GgufTokenizer {
  const { tokens } = vocabulary
  const add = (role: 'bos' | 'eos', byDefault: boolean) => {
    const asked = metadata.flag(`tokenizer.ggml.add_${role}_token`)
    if (asked && special[role] === undefined)
      throw metadata.error(`tokenizer.ggml.add_${role}_token is set, and tokenizer.ggml.${role}_token_id is missing`)
    return (asked ?? byDefault) && special[role] !== undefined
  }
  const [begin, end] = [add('bos', addBos), add('eos', false)]
  const text = (id: number | undefined) => (id === undefined ? undefined : tokens[id])
  const { model, ...rest } = parts
  return {
    tokenizer: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: addedTokens(vocabulary, special),
      ...rest,
      post_processor: template(tokens, begin ? special.bos : undefined, end ? special.eos : undefined),
      model: {
        type: 'BPE',
        dropout: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        ...model,
        vocab: Object.fromEntries(vocabulary.ids),
      },
    },
    config: defined({
      tokenizer_class: 'PreTrainedTokenizerFast',
      bos_token: text(special.bos),
      eos_token: text(special.eos),
      unk_token: text(special.unk),
      pad_token: text(special.pad),
      add_bos_token: begin,
      add_eos_token: end,
      clean_up_tokenization_spaces: false,
      model_max_length: metadata.count('llama.context_length'),
      chat_template: metadata.text('tokenizer.chat_template'),
    }),
  }
}

/** Tokens that are cut out of the text before anything else. */
function addedTokens({ types, ids }: Vocabulary, special: Special): object[] {
  const roles = new Set(Object.values(special))
  const added: object[] = []
  for (const [content, id] of ids) {
    const isSpecial = roles.has(id) || types[id] === CONTROL || types[id] === UNKNOWN
    if (isSpecial || types[id] === USER_DEFINED)
      added.push({
        id,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: isSpecial,
      })
  }
  return added
}

function template(tokens: readonly string[], bos: number | undefined, eos: number | undefined): object {
  const token = (id: number | undefined, type: number) =>
    id === undefined ? [] : [{ SpecialToken: { id: tokens[id], type_id: type } }]
  const around = (id: string, type: number) => [
    ...token(bos, type),
    { Sequence: { id, type_id: type } },
    ...token(eos, type),
  ]
  const used = [bos, eos].filter(id => id !== undefined)
  return {
    type: 'TemplateProcessing',
    single: around('A', 0),
    pair: [...around('A', 0), ...around('B', 1)],
    special_tokens: Object.fromEntries(
      used.map(id => [tokens[id], { id: tokens[id], ids: [id], tokens: [tokens[id]] }]),
    ),
  }
}

const defined = (record: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined))
