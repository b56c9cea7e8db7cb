// Checks tokenizer.json, which comes from strangers, before the tokenizer library builds anything: types, sizes of what
// becomes trees, and growth of a text: harmless steps in a row, such as `Replace a → aa`, grow exponentially. The
// caller bounds the time. Source of the names: the Rust tokenizers, whose `serde` types these are.
import { isJsonObject, type JsonObject, quote } from '../base/json.ts'
import { isByteLevel } from './tokenizer-json.ts'

/** What the steps of one part may together make of one character. SentencePiece models and BERT have 2 to 4. */
const MAX_GROWTH = 64
/** A search tree takes up to 220 bytes a character. Added tokens of Llama 3 have 6,000, XLM-R's 2 million. */
const MAX_TREE_CHARACTERS = 2 ** 21
/** Suffixes and prefixes of words are put to each of them. Usual are `</w>` and `##`. */
const MAX_AFFIX = 256
/** Ids are int32. */
const MAX_ID = 2 ** 31 - 1
/** Bytes of UTF-8 text. SmolLM2 has tokens for these alone: no control characters, nor planes 4 to 11. */
const TEXT_BYTES = [0x0a, ...range(0x20, 0x7e), ...range(0x80, 0xbf), ...range(0xc2, 0xf0)]

const PARTS = {
  normalizer: 'normalizers',
  pre_tokenizer: 'pretokenizers',
  post_processor: 'processors',
  decoder: 'decoders',
}

type Check = readonly [is: (value: unknown) => boolean, wanted: string]

const isText = (value: unknown): value is string => typeof value === 'string'
const isId = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= MAX_ID
const TEXT: Check = [isText, 'a text']
const COUNT: Check = [isId, 'a whole number of at least 0']
const AFFIX: Check = [
  value => value == null || (isText(value) && value.length <= MAX_AFFIX),
  `a text of at most ${MAX_AFFIX} characters`,
]
const TOKEN_AND_ID: Check = [value => Array.isArray(value) && isText(value[0]) && isId(value[1]), 'a token and its id']
const PATTERN: Check = [
  value => isJsonObject(value) && isText(value.Regex ?? value.String),
  'a pattern: {"Regex": …} or {"String": …}',
]
const TEMPLATE: Check = [
  value =>
    Array.isArray(value) &&
    value.every(
      item => isJsonObject(item) && [item.SpecialToken, item.Sequence].some(of => isJsonObject(of) && isText(of.id)),
    ),
  'a list of special tokens and sequences',
]

/** Fields that a type must have. */
const REQUIRED: Readonly<Record<string, Readonly<Record<string, Check>>>> = {
  Replace: { pattern: PATTERN, content: TEXT },
  Split: { pattern: PATTERN },
  Prepend: { prepend: TEXT },
  FixedLength: { length: [value => isId(value) && value > 0, 'a whole number of at least 1'] },
  TemplateProcessing: { single: TEMPLATE },
  BertProcessing: { sep: TOKEN_AND_ID, cls: TOKEN_AND_ID },
  RobertaProcessing: { sep: TOKEN_AND_ID, cls: TOKEN_AND_ID },
}

/** Fields that a type may have: the same whichever it is. */
const OPTIONAL: Readonly<Record<string, Check>> = {
  ...Object.fromEntries(
    [
      'content',
      'replacement',
      'str_rep',
      'prepend_scheme',
      'behavior',
      'prefix',
      'suffix',
      'pad_token',
      'word_delimiter_token',
    ].map(name => [name, TEXT]),
  ),
  start: COUNT,
  stop: COUNT,
}

/**
 * @param config tokenizer_config.json
 * @returns how many entries its tables have, which its loading takes time for
 * @throws Error, whose message names the part
 */
export function checkTokenizer(json: JsonObject, config: JsonObject): number {
  const growth = Object.fromEntries(
    Object.entries(PARTS).map(([part, list]) => [part, checkPart(part, list, json[part])]),
  )
  const vocabulary = checkModel(json.model)
  checkBytes(json, vocabulary)
  const { added_tokens: added } = json
  if (!Array.isArray(added)) throw wrong('added_tokens', 'a list')
  let characters = 0
  for (const [index, token] of added.entries()) {
    if (!isJsonObject(token) || !isText(token.content) || !isId(token.id))
      throw wrong(`added_tokens[${index}]`, 'an object with a text "content" and an "id"')
    vocabulary.add(token.content)
    characters += token.content.length * (token.normalized ? growth.normalizer : 1)
  }
  checkTree('added_tokens', characters)
  const { unk_token: unknown } = json.model as JsonObject
  if (isText(unknown) && !vocabulary.has(unknown)) throw new Error(`model.unk_token ${quote(unknown)} has no id`)
  for (const role of ['bos_token', 'eos_token']) {
    const token = isJsonObject(config[role]) ? config[role].content : config[role]
    if (token != null && !isText(token))
      throw wrong(`${role} of tokenizer_config.json`, 'a text, or an object with a text "content"')
  }
  if (!Array.isArray(config.additional_special_tokens ?? []))
    throw wrong('additional_special_tokens of tokenizer_config.json', 'a list')
  return vocabulary.size + (((json.model as JsonObject).merges as unknown[] | undefined)?.length ?? 0)
}

/** The numbers from `first` to `last`. */
function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i)
}

/** Without an unknown token BPE silently drops what it cannot spell. @param vocabulary without added tokens */
function checkBytes(json: JsonObject, vocabulary: ReadonlySet<string>): void {
  const model = json.model as JsonObject
  if (model.type !== 'BPE' || model.unk_token != null) return
  const byteLevel = isByteLevel(json)
  if (!byteLevel && model.byte_fallback !== true) return
  const spelled = byteLevel ? byteCharacters() : range(0, 255).map(byte => `<0x${hex(byte)}>`)
  const lacking = TEXT_BYTES.filter(byte => !vocabulary.has(spelled[byte]))
  if (lacking.length > 0)
    throw new Error(
      `model.vocab lacks ${lacking.length} of the bytes that texts are spelled with, as ` +
        `${quote(spelled[lacking[0]])} for 0x${hex(lacking[0])}, and there is no unk_token`,
    )
}

const hex = (byte: number): string => byte.toString(16).toUpperCase().padStart(2, '0')

/** GPT-2's character of each byte: its own where that can be seen, or else the next from U+0100 on. */
function byteCharacters(): string[] {
  const seen = new Set([...range(0x21, 0x7e), ...range(0xa1, 0xac), ...range(0xae, 0xff)])
  let next = 0x100
  return range(0, 255).map(byte => String.fromCharCode(seen.has(byte) ? byte : next++))
}

const wrong = (what: string, wanted: string): Error => new Error(`${what} is not ${wanted}`)

function check(where: string, value: unknown, [is, wanted]: Check): void {
  if (!is(value)) throw wrong(where, wanted)
}

function checkTree(where: string, characters: number): void {
  if (characters > MAX_TREE_CHARACTERS)
    throw new Error(`${where} has ${characters} characters; at most ${MAX_TREE_CHARACTERS} are allowed`)
}

/** @returns what its steps make of one character at most */
function checkPart(part: string, list: string, config: unknown): number {
  const growth = steps(part, list, config).reduce((product, step) => product * checkStep(part, step), 1)
  if (growth > MAX_GROWTH)
    throw new Error(
      `the steps of ${part} can make a text ${growth} times as long; at most ${MAX_GROWTH} times is allowed`,
    )
  return growth
}

/** The steps of a part, those of sequences one by one. */
function steps(part: string, list: string, config: unknown): JsonObject[] {
  if (config === null) return []
  if (!isJsonObject(config) || !isText(config.type)) throw wrong(part, 'null or an object with a text "type"')
  if (config.type !== 'Sequence') return [config]
  const inside = config[list]
  if (!Array.isArray(inside)) throw wrong(`${part}.${list}`, 'a list')
  return inside.flatMap(one => steps(part, list, one))
}

/** @returns what it makes of one character at most; not exactly, where that does not add up in a row */
function checkStep(part: string, step: JsonObject): number {
  const type = step.type as string
  const where = `${part} ${quote(type)}`
  for (const [field, rule] of Object.entries(REQUIRED[type] ?? {})) check(`${field} of ${where}`, step[field], rule)
  for (const [field, rule] of Object.entries(OPTIONAL))
    if (field in step) check(`${field} of ${where}`, step[field], rule)
  const text = (name: string) => ((step[name] as string | undefined) ?? '').length
  const pattern = (step.pattern ?? {}) as { Regex?: string; String?: string }
  switch (type) {
    case 'Replace': // a pattern that matches nothing does so before each character
      return pattern.Regex === undefined && pattern.String
        ? Math.max(1, text('content') / pattern.String.length)
        : 1 + text('content')
    case 'Prepend':
      return 1 + text('prepend')
    case 'Metaspace':
      return 1 + Math.max(1, text('replacement'), text('str_rep'))
    case 'Split': // where the pattern is removed, JavaScript gives what its groups have caught besides
      return step.invert || !/^removed$/i.test(String(step.behavior)) ? 1 : (pattern.Regex ?? '').split('(').length
    case 'TemplateProcessing':
      return Math.max(1, (step.single as unknown[]).length)
    case 'BertNormalizer': // spaces around Chinese characters
    case 'ByteLevel': // UTF-8
    case 'BertProcessing':
    case 'RobertaProcessing':
      return 3
    case 'BPEDecoder':
    case 'WordPiece':
    case 'CTC': // spaces
      return 2
    default:
      return 1
  }
}

/** @returns its tokens */
function checkModel(model: unknown): Set<string> {
  if (!isJsonObject(model)) throw wrong('model', 'an object')
  const { vocab, merges } = model
  if (model.type !== undefined) check('model.type', model.type, TEXT)
  if (model.max_input_chars_per_word !== undefined)
    check('model.max_input_chars_per_word', model.max_input_chars_per_word, COUNT)
  for (const affix of ['unk_token', 'end_of_word_suffix', 'continuing_subword_prefix', 'continuing_subword_suffix'])
    check(`model.${affix}`, model[affix], AFFIX)
  if (model.type === 'BPE') {
    if (!Array.isArray(merges)) throw wrong('model.merges', 'a list')
    const bad = merges.findIndex(merge =>
      isText(merge)
        ? !/^[^ ]+ [^ ]+$/.test(merge)
        : !Array.isArray(merge) || merge.length !== 2 || !merge.every(token => isText(token) && token !== ''),
    )
    if (bad >= 0) throw wrong(`model.merges[${bad}]`, 'two tokens')
  }
  if (!Array.isArray(vocab)) {
    if (!isJsonObject(vocab)) throw wrong('model.vocab', 'an object or a list')
    for (const [token, id] of Object.entries(vocab)) check(`model.vocab: the id of ${quote(token)}`, id, COUNT)
    return new Set(Object.keys(vocab))
  }
  const bad = vocab.findIndex(entry => !Array.isArray(entry) || !isText(entry[0]) || !Number.isFinite(entry[1]))
  if (bad >= 0) throw wrong(`model.vocab[${bad}]`, 'a token and its score')
  const tokens: string[] = vocab.map(([token]) => token)
  if (model.unk_id != null)
    check('model.unk_id', model.unk_id, [id => isId(id) && id < tokens.length, 'the place of a token'])
  checkTree(
    'model.vocab',
    tokens.reduce((sum, token) => sum + token.length, 0),
  )
  return new Set(tokens)
}
