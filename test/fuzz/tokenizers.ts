// tokenizer.json of every kind, and vocab.json with merges.txt, as a tokenizer that encodes a short text.

import { parseJsonObject } from '../../src/base/json.ts'
import { byteLevelBpe } from '../../src/checkpoint/byte-level-bpe.ts'
import { within } from '../../src/checkpoint/time-limit.node.ts'
import { loadTokenizer } from '../../src/text/tokenizer.ts'
import { type Dice, jsonCase, mutateBytes, mutateJson, toJson } from './mutate.ts'
import type { Target } from './target.ts'

/** Words, spaces, digits, a combining mark, an emoji, an added token, and something for patterns to go back over. */
const TEXT = "ab  It's 12 a\u0301 naïve \u{1f600}<s>\n\tthe word again and again aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"

const ids = (tokens: readonly string[]) => Object.fromEntries(tokens.map((token, id) => [token, id]))
const added = (content: string, id: number, special = true) => ({
  ...{ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special },
})
const BYTE_LEVEL = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
const METASPACE = { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true }
const split = (regex: string, behavior = 'Isolated', invert = false) => ({
  type: 'Split',
  pattern: { Regex: regex },
  behavior,
  invert,
})
const replace = (string: string, content: string) => ({ type: 'Replace', pattern: { String: string }, content })

const BPE = {
  ...{ type: 'BPE', dropout: null, unk_token: '<unk>', continuing_subword_prefix: null, end_of_word_suffix: null },
  ...{ fuse_unk: false, byte_fallback: false, ignore_merges: false },
  vocab: ids(['<s>', '</s>', '<unk>', 'a', 'b', 't', 'h', 'e', 'Ġ', '1', '2', 'ab', 'th', 'Ġa', 'the', '▁']),
  merges: ['a b', 't h', ['Ġ', 'a'], 'th e'],
}
const UNIGRAM = {
  type: 'Unigram',
  unk_id: 2,
  byte_fallback: false,
  vocab: [
    ['<s>', 0],
    ['</s>', 0],
    ['<unk>', 0],
    ['▁', -2],
    ['a', -3],
    ['▁a', -1.5],
  ],
}
const WORD_PIECE = {
  ...{ type: 'WordPiece', unk_token: '<unk>', continuing_subword_prefix: '##', max_input_chars_per_word: 100 },
  vocab: ids(['<s>', '</s>', '<unk>', 'a', '##b', 'the', '##a', '12']),
}

export const TOKENIZER = {
  ...{ version: '1.0', truncation: null, padding: null },
  added_tokens: [added('<s>', 0), added('</s>', 1), added('<unk>', 2), added('<think>', 16, false)],
  normalizer: null,
  pre_tokenizer: BYTE_LEVEL,
  post_processor: {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: { '<s>': { id: '<s>', ids: [0], tokens: ['<s>'] } },
  },
  decoder: { ...BYTE_LEVEL, add_prefix_space: true },
  model: BPE,
}
export const TOKENIZER_CONFIG = {
  tokenizer_class: 'PreTrainedTokenizerFast',
  bos_token: '<s>',
  eos_token: { content: '</s>' },
  add_bos_token: true,
}

/** The parts that a tokenizer is put together from, each as the library knows it. */
const NORMALIZERS = [
  ...['NFC', 'NFKC', 'NFD', 'NFKD', 'Lowercase', 'StripAccents'].map(type => ({ type })),
  ...[replace(' ', '▁'), replace('a', 'aa'), { type: 'Replace', pattern: { Regex: ' {2,}' }, content: ' ' }],
  ...[
    { type: 'Prepend', prepend: '▁' },
    { type: 'Strip', strip_left: true, strip_right: true },
  ],
  ...[{ type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true }],
  ...[{ type: 'Precompiled', precompiled_charsmap: 'AAAA' }],
]
const PATTERNS = [
  String.raw`\p{N}{1,3}`,
  String.raw`'s| ?\p{L}+|\s+(?!\S)|\s+`,
  "(?i:'S)",
  '^(([a-zA-Z ])+.)+\u0001$',
  '(a+)+$',
  '[',
  '',
]
const PRE_TOKENIZERS = [
  ...[BYTE_LEVEL, { ...BYTE_LEVEL, use_regex: false }, METASPACE, { ...METASPACE, split: false }],
  ...['Whitespace', 'WhitespaceSplit', 'BertPreTokenizer'].map(type => ({ type })),
  ...[
    { type: 'Punctuation', behavior: 'Isolated' },
    { type: 'Digits', individual_digits: true },
  ],
  ...['Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous'].map(behavior =>
    split(PATTERNS[1], behavior, behavior === 'Removed'),
  ),
]
const DECODERS = [
  ...[{ ...BYTE_LEVEL }, METASPACE, { type: 'ByteFallback' }, { type: 'Fuse' }, replace('▁', ' ')],
  ...[
    { type: 'Strip', content: ' ', start: 1, stop: 0 },
    { type: 'WordPiece', prefix: '##', cleanup: true },
  ],
  ...[
    { type: 'BPEDecoder', suffix: '</w>' },
    { type: 'CTC', pad_token: '<s>', word_delimiter_token: '|', cleanup: true },
  ],
]
const PROCESSORS = [
  TOKENIZER.post_processor,
  { ...BYTE_LEVEL },
  { type: 'BertProcessing', sep: ['</s>', 1], cls: ['<s>', 0] },
  { type: 'RobertaProcessing', sep: ['</s>', 1], cls: ['<s>', 0], trim_offsets: true, add_prefix_space: true },
  { type: 'Sequence', processors: [TOKENIZER.post_processor, { ...BYTE_LEVEL }] },
]

function anyTokenizer(dice: Dice): object {
  const none = { ...TOKENIZER, model: dice.pick([BPE, BPE, { ...BPE, ignore_merges: true }, UNIGRAM, WORD_PIECE]) }
  if (dice.chance(0.2)) return none
  const patterned = () => dice.or(0.05, dice.pick(PRE_TOKENIZERS), () => split(dice.pick(PATTERNS)))
  const part = (kind: string, key: string, make: () => object) => {
    const several = [make(), ...dice.several(3, make)]
    return dice.pick([null, several[0], { type: 'Sequence', [key]: several }, { type: kind, [key]: several }])
  }
  return {
    ...none,
    normalizer: part('Sequence', 'normalizers', () => dice.pick(NORMALIZERS)),
    pre_tokenizer: part('Sequence', 'pretokenizers', patterned),
    decoder: part('Sequence', 'decoders', () => dice.pick(DECODERS)),
    post_processor: dice.pick(PROCESSORS),
    added_tokens: TOKENIZER.added_tokens.map(token =>
      dice.or(0.1, token, () => ({ ...token, lstrip: true, normalized: true })),
    ),
  }
}

/** The same with a token for what it cannot spell, so that it need not spell all bytes: small vocabularies break more often. */
export function withUnknown(tokenizer: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const model = tokenizer.model as typeof BPE
  return { ...tokenizer, model: { ...model, unk_token: model.unk_token ?? Object.keys(model.vocab)[0] } }
}

function use(tokenizer: object, tokenizerConfig: object): void {
  const loaded = loadTokenizer({
    name: 'made',
    tokenizer: tokenizer as Record<string, unknown>,
    tokenizerConfig: tokenizerConfig as Record<string, unknown>,
    within: (_, work, late) => within(0.5, work, late), // half of what a case may take
  })
  const encoded = loaded.encode(TEXT)
  loaded.decode(encoded)
  loaded.decode(encoded, { skipSpecial: false })
  loaded.encode('')
}

const tokenizer: Target = {
  cases: 1300,
  make: dice => ({
    'tokenizer.json': jsonCase(anyTokenizer(dice), dice),
    'tokenizer_config.json': toJson(dice.or(0.1, TOKENIZER_CONFIG, () => mutateJson(TOKENIZER_CONFIG, dice))),
  }),
  read: files =>
    use(
      ...(['tokenizer.json', 'tokenizer_config.json'].map(name => parseJsonObject(files[name], name)) as [
        object,
        object,
      ]),
    ),
}

// vocab.json, merges.txt and the files beside them

const BESIDE: Readonly<Record<string, object>> = {
  'vocab.json': { ...BPE.vocab, '<|endoftext|>': 16 },
  'tokenizer_config.json': {
    ...TOKENIZER_CONFIG,
    tokenizer_class: 'GPT2Tokenizer',
    added_tokens_decoder: { 0: added('<s>', 0) },
  },
  'special_tokens_map.json': {
    bos_token: '<s>',
    pad_token: { content: '</s>', lstrip: true },
    additional_special_tokens: ['<unk>'],
  },
  'added_tokens.json': { '<think>': 17 },
}
const MERGES = Buffer.from('#version: 0.2\na b\nt h\nĠ a\nth e\n')
const MERGE_LINES = ['a b', 'a', ' a b', 'a  b', 'a b c', 'zz b', '', '\r', 'th e\r', '__proto__ a']

const vocab: Target = {
  cases: 2000,
  make(dice) {
    const which = dice.pick([...Object.keys(BESIDE), 'merges.txt'])
    const files = Object.entries(BESIDE).map(([name, value]) => [
      name,
      name === which ? jsonCase(value, dice) : toJson(value),
    ])
    const lines = Buffer.from(`${dice.several(9, () => dice.pick(MERGE_LINES)).join('\n')}\n`)
    const merges = which === 'merges.txt' ? dice.pick([lines, mutateBytes(MERGES, dice)]) : MERGES
    return { ...Object.fromEntries(files), 'merges.txt': merges, model_type: Buffer.from(dice.pick(['opt', 'gpt2'])) }
  },
  read(files) {
    const json = (name: string) => parseJsonObject(files[name], name)
    const made = byteLevelBpe({
      folder: 'made',
      vocab: json('vocab.json'),
      merges: new TextDecoder().decode(files['merges.txt']),
      tokenizerConfig: json('tokenizer_config.json'),
      specialTokensMap: json('special_tokens_map.json'),
      addedTokens: json('added_tokens.json'),
      modelType: new TextDecoder().decode(files.model_type),
    })
    use(withUnknown(made), json('tokenizer_config.json'))
  },
}

export const tokenizers: Readonly<Record<string, Target>> = { tokenizer, vocab }
