// `tokenizer.json` from `vocab.json` and `merges.txt`, which is all that OPT and GPT-2 have on the Hub.
// Source: transformers, convert_slow_tokenizer.py, GPT2Converter.
import { FormatError } from '../base/errors.ts'
import { isJsonObject, type JsonObject, quote } from '../base/json.ts'

/** Roles in `special_tokens_map.json` and `tokenizer_config.json` that name one token each. */
const ROLES = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token']

export interface BpeFiles {
  /** Where they are, for messages. */
  readonly folder: string
  readonly vocab: JsonObject
  readonly merges: string
  /** `tokenizer_config.json`, or `{}`. */
  readonly tokenizerConfig: JsonObject
  /** `special_tokens_map.json`, or `{}`. */
  readonly specialTokensMap: JsonObject
  /** `added_tokens.json`, or `{}`. */
  readonly addedTokens: JsonObject
  /** `model_type` of `config.json`: OPT starts every text with `</s>` unless its tokenizer's config says no. */
  readonly modelType: unknown
}

interface AddedToken {
  readonly id: number
  readonly content: string
  readonly single_word: boolean
  readonly lstrip: boolean
  readonly rstrip: boolean
  readonly normalized: boolean
  readonly special: boolean
}

/**
 * The tokenizer that transformers makes of these files, as `tokenizer.json`.
 * @throws FormatError where ids or merges are malformed, or the token at the start of texts is unknown.
 */
export function byteLevelBpe(files: BpeFiles): JsonObject {
  const vocab = readVocab(files.vocab, `${files.folder}/vocab.json`)
  const merges = readMerges(files.merges, vocab, `${files.folder}/merges.txt`)
  const ids = new Map([...vocab, ...readVocab(files.addedTokens, `${files.folder}/added_tokens.json`)])
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens(files, ids),
    normalizer: null,
    pre_tokenizer: {
      type: 'ByteLevel',
      add_prefix_space: files.tokenizerConfig.add_prefix_space === true,
      trim_offsets: true,
      use_regex: true,
    },
    post_processor: postProcessor(files, ids),
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(vocab),
      merges,
    },
  }
}

function readVocab(json: JsonObject, file: string): Map<string, number> {
  const seen = new Map<number, string>()
  const vocab = new Map<string, number>()
  for (const [token, id] of Object.entries(json)) {
    if (!Number.isSafeInteger(id) || (id as number) < 0)
      throw new FormatError(file, `gives ${quote(token)} an id that is no integer ≥ 0`)
    const other = seen.get(id as number)
    if (other !== undefined) throw new FormatError(file, `gives the id ${id} to ${quote(other)} and ${quote(token)}`)
    seen.set(id as number, token)
    vocab.set(token, id as number)
  }
  return vocab
}

/** Lines `left right`, best first, after an optional `#version`. Byte-level tokens contain no space. */
function readMerges(text: string, vocab: ReadonlyMap<string, number>, file: string): string[] {
  const merges: string[] = []
  for (const [i, raw] of text.split('\n').entries()) {
    const line = raw.endsWith('\r') ? raw.slice(0, -1) : raw
    if (line === '' || (i === 0 && line.startsWith('#version'))) continue
    const [left, right, ...more] = line.split(' ')
    if (!left || !right || more.length > 0)
      throw new FormatError(file, `line ${i + 1} is ${quote(line)}, wanted are two tokens`)
    const unknown = [left, right, left + right].find(token => !vocab.has(token))
    if (unknown !== undefined) {
      throw new FormatError(
        file,
        `line ${i + 1} needs ${quote(unknown)}, which vocab.json lacks; the two files are not of one tokenizer`,
      )
    }
    merges.push(line)
  }
  return merges
}

/** Special tokens that have an id, and those of `added_tokens.json`. In the order of ids, as tokenizers writes them. */
function addedTokens(files: BpeFiles, ids: ReadonlyMap<string, number>): AddedToken[] {
  const tokens = new Map<string, AddedToken>()
  const add = (value: unknown, special: boolean): void => {
    const content = contentOf(value)
    const id = content === undefined ? undefined : ids.get(content)
    if (content === undefined || id === undefined || tokens.has(content)) return
    const flags = isJsonObject(value) ? value : {}
    tokens.set(content, {
      id,
      content,
      single_word: flags.single_word === true,
      lstrip: flags.lstrip === true,
      rstrip: flags.rstrip === true,
      normalized: flags.normalized === true,
      special,
    })
  }
  for (const source of [files.specialTokensMap, files.tokenizerConfig]) {
    for (const role of ROLES) add(source[role], true)
    for (const token of listOf(source.additional_special_tokens)) add(token, true)
  }
  for (const token of objectsOf(files.tokenizerConfig.added_tokens_decoder)) add(token, token.special === true)
  for (const token of Object.keys(files.addedTokens)) add(token, false)
  return [...tokens.values()].sort((a, b) => a.id - b.id)
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
const objectsOf = (value: unknown): readonly JsonObject[] =>
  isJsonObject(value) ? Object.values(value).filter(isJsonObject) : []

/** A token in these files is a text, or an AddedToken with its `content`. */
const contentOf = (value: unknown): string | undefined => {
  const content = isJsonObject(value) ? value.content : value
  return typeof content === 'string' ? content : undefined
}

/** `bos text`, for a pair `bos first bos second`; without BOS nothing is added. */
function postProcessor(files: BpeFiles, ids: ReadonlyMap<string, number>): JsonObject {
  const { tokenizerConfig, specialTokensMap, modelType, folder } = files
  const wanted = tokenizerConfig.add_bos_token ?? modelType === 'opt'
  if (wanted !== true) return { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false, use_regex: true }
  const fallback = modelType === 'opt' ? '</s>' : '<|endoftext|>'
  const bos = contentOf(tokenizerConfig.bos_token) ?? contentOf(specialTokensMap.bos_token) ?? fallback
  const id = ids.get(bos)
  if (id === undefined) throw new FormatError(folder, `its texts start with ${quote(bos)}, which vocab.json lacks`)
  const token = (type: number) => ({ SpecialToken: { id: bos, type_id: type } })
  const text = (name: string, type: number) => ({ Sequence: { id: name, type_id: type } })
  return {
    type: 'TemplateProcessing',
    single: [token(0), text('A', 0)],
    pair: [token(0), text('A', 0), token(1), text('B', 1)],
    special_tokens: { [bos]: { id: bos, ids: [id], tokens: [bos] } },
  }
}
