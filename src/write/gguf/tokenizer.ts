// Metadata `tokenizer.*` of a GGUF file from tokenizer.json and tokenizer_config.json, for a source that is no GGUF or
// whose vocabulary was cut. Two kinds: `gpt2`, byte-level BPE with merges, whose pre-tokenizer llama.cpp knows by a
// name (`pre`); and `llama`, SentencePiece BPE, which merges by scores. We find the name by comparing ids under every
// rule that we know; llama.cpp's converter compares hashes, which name vocabularies and not rules. Scores are the ranks
// of the merges; the converter gives all tokens −1000.
// Source: llama.cpp, conversion/base.py (`get_vocab_base`, `_create_vocab_sentencepiece`), src/llama-vocab.cpp.
import { UnsupportedModelError } from '../../base/errors.ts'
import { describeValue, isJsonObject, type JsonObject, parseJsonObject } from '../../base/json.ts'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import { PRE_TOKENIZERS } from '../../checkpoint/gguf-pretokenizers.ts'
import { type GgufPair, ggufValue } from '../../formats/gguf-layout.ts'
import { loadTokenizer, PROBE } from '../../text/tokenizer.ts'
import { isByteLevel, isByteToken, parts, readMerges } from '../../text/tokenizer-json.ts'

/** `tokenizer.ggml.token_type` (llama.h, `enum llama_token_type`). */
const TYPES = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 }

export function tokenizerPairs(checkpoint: Checkpoint, vocabularySize: number): GgufPair[] {
  const { name, tokenizer: json } = checkpoint
  const refuse = (problem: string): never => {
    throw new UnsupportedModelError(`${name}: ${problem}, so no GGUF of it can be written. Choose another --to.`)
  }
  const model = json.model as JsonObject
  const kind = tokenizerKind(json)
  if (kind === undefined)
    return refuse(
      `its tokenizer (${describeValue(model.type)}) is neither byte-level BPE nor SentencePiece BPE, ` +
        'the kinds that llama.cpp has for LLaMA',
    )
  const { tokens, types } = readTokens(json, kind, vocabularySize, refuse)
  const ids = new Map(tokens.map((token, id) => [token, id]))
  const special = specialIds(checkpoint, ids)
  const around = [...loadTokenizer(checkpoint).encode('a')]
  const template = chatTemplate(checkpoint)
  return [
    ['tokenizer.ggml.model', ggufValue.text(kind)],
    ['tokenizer.ggml.pre', ggufValue.text(kind === 'llama' ? 'default' : ruleName(checkpoint, refuse))],
    ['tokenizer.ggml.tokens', ggufValue.texts(tokens)],
    ['tokenizer.ggml.token_type', ggufValue.counts(types)],
    ...(kind === 'llama'
      ? ([
          ['tokenizer.ggml.scores', ggufValue.reals(scores(model, tokens, types))],
          ['tokenizer.ggml.add_space_prefix', ggufValue.flag(prefixesSpace(json))],
        ] as GgufPair[])
      : [['tokenizer.ggml.merges', ggufValue.texts(readMerges(model).map(merge => merge.join(' ')))] as GgufPair]),
    ...Object.entries(special).map(([key, id]): GgufPair => [`tokenizer.ggml.${key}`, ggufValue.count(id)]),
    ['tokenizer.ggml.add_bos_token', ggufValue.flag(around[0] === special.bos_token_id)],
    ['tokenizer.ggml.add_eos_token', ggufValue.flag(around.length > 1 && around.at(-1) === special.eos_token_id)],
    ...(template === undefined ? [] : [['tokenizer.chat_template', ggufValue.text(template)] as GgufPair]),
  ]
}

function tokenizerKind(json: JsonObject): 'gpt2' | 'llama' | undefined {
  const model = json.model as JsonObject
  if (model.type !== 'BPE') return undefined
  if (isByteLevel(json)) return 'gpt2'
  return model.byte_fallback === true ? 'llama' : undefined
}

function readTokens(json: JsonObject, kind: 'gpt2' | 'llama', size: number, refuse: (problem: string) => never) {
  const model = json.model as JsonObject
  const added = json.added_tokens as { id: number; content: string; special: boolean }[]
  const vocabulary = Object.entries(model.vocab as Record<string, number>)
  const most = [...vocabulary.map(([, id]) => id), ...added.map(({ id }) => id)].reduce((a, b) => Math.max(a, b))
  if (most >= size) refuse(`its tokenizer has the id ${most}, and the embedding ${size} rows`)
  const tokens = Array.from({ length: size }, (_, id) => `[PAD${id}]`)
  const types = new Array<number>(size).fill(TYPES.unused)
  for (const [token, id] of vocabulary) {
    tokens[id] = token
    types[id] = kind === 'llama' && isByteToken(token) ? TYPES.byte : TYPES.normal
  }
  for (const { id, content, special } of added) {
    const control = special || looksSpecial(content)
    tokens[id] = control ? content : content.replaceAll('▁', ' ')
    types[id] = control ? TYPES.control : TYPES.userDefined
  }
  const unknown = tokens.indexOf(String(model.unk_token))
  if (kind === 'llama' && unknown >= 0) types[unknown] = TYPES.unknown
  return { tokens, types }
}

/** As the converter has it: some tokenizers do not mark what ought to be control tokens. */
const looksSpecial = (token: string): boolean =>
  ['<pad>', '<mask>', '<2mass>', '[@BOS@]'].includes(token) || /^(<\|.*\|>|<｜.*｜>|<unused.*>)$/.test(token)

/** The earlier a merge, the higher its score. Pieces that no merge makes are never compared. */
function scores(model: JsonObject, tokens: readonly string[], types: readonly number[]): number[] {
  const ranks = new Map<string, number>()
  for (const [rank, merge] of readMerges(model).entries())
    if (!ranks.has(merge.join(''))) ranks.set(merge.join(''), rank)
  return tokens.map((token, id) => (types[id] === TYPES.normal ? -(ranks.get(token) ?? ranks.size) : 0))
}

function prefixesSpace(json: JsonObject): boolean {
  if (parts(json.normalizer).some(part => part.type === 'Prepend')) return true
  const metaspace = parts(json.pre_tokenizer).find(part => part.type === 'Metaspace')
  return metaspace !== undefined && metaspace.prepend_scheme !== 'never' && metaspace.add_prefix_space !== false
}

/** The rule under which this tokenizer splits words, as llama.cpp calls it. */
function ruleName(checkpoint: Checkpoint, refuse: (problem: string) => never): string {
  const { tokenizer: json, gguf } = checkpoint
  const named = gguf?.metadata.get('tokenizer.ggml.pre')
  if (typeof named === 'string') return named
  const wanted = loadTokenizer(checkpoint).encode(PROBE).join()
  // `default` is for files that do not name theirs: llama.cpp warns about it.
  const candidates = [...PRE_TOKENIZERS].filter(([name]) => name !== 'default')
  const spelled = ({ normalizer, pre_tokenizer, model }: JsonObject) =>
    JSON.stringify([normalizer ?? null, pre_tokenizer, (model as JsonObject).ignore_merges === true])
  const asIs = spelled(json)
  const found = candidates
    .map(([name, rule]) => {
      const { normalizer, preTokenizer: pre_tokenizer, ignoreMerges: ignore_merges } = rule
      const tokenizer = { ...json, normalizer, pre_tokenizer, model: { ...(json.model as JsonObject), ignore_merges } }
      return { name, tokenizer, first: spelled(tokenizer) === asIs }
    })
    .sort((a, b) => Number(b.first) - Number(a.first)) // ids of a small vocabulary may not tell rules apart
    .find(
      ({ tokenizer }) =>
        loadTokenizer({ ...checkpoint, tokenizer })
          .encode(PROBE)
          .join() === wanted,
    )
  return found?.name ?? refuse(`its pre-tokenizer is none of ${candidates.map(([name]) => name).join(', ')}`)
}

/** A token in these files is a text, or an object with its `content`. */
const contentOf = (value: unknown): unknown => (isJsonObject(value) ? value.content : value)

function specialIds({ config, tokenizerConfig, sideFiles }: Checkpoint, ids: ReadonlyMap<string, number>) {
  const file = sideFiles.find(({ name }) => name === 'generation_config.json')
  const generation = file ? parseJsonObject(file.bytes, file.name) : {}
  const special: Record<string, number> = {}
  const roles = { bos: 'bos', eos: 'eos', unk: 'unknown', pad: 'padding' }
  for (const [role, key] of Object.entries(roles)) {
    const named = ids.get(contentOf(tokenizerConfig[`${role}_token`]) as string)
    const id = named ?? [config[`${role}_token_id`], generation[`${role}_token_id`]].flat().find(Number.isInteger)
    if (typeof id === 'number' && id >= 0 && id < ids.size) special[`${key}_token_id`] = id
  }
  // Of several ends the one that is not the end of the text is the end of a turn.
  const turn = [generation.eos_token_id].flat().find(id => Number.isInteger(id) && id !== special.eos_token_id)
  if (turn !== undefined && special.eos_token_id !== undefined) special.eot_token_id = turn as number
  return special
}

/** From tokenizer_config.json, where several have names and one is the default, or a file of its own. */
function chatTemplate({ tokenizerConfig, sideFiles }: Checkpoint): string | undefined {
  const { chat_template: given } = tokenizerConfig
  if (typeof given === 'string') return given
  if (Array.isArray(given)) {
    const named = given.find(entry => isJsonObject(entry) && entry.name === 'default') as JsonObject | undefined
    if (typeof named?.template === 'string') return named.template
  }
  const bytesOf = (wanted: string) => sideFiles.find(({ name }) => name === wanted)?.bytes
  const [jinja, json] = [bytesOf('chat_template.jinja'), bytesOf('chat_template.json')]
  if (jinja) return new TextDecoder().decode(jinja)
  const inJson = json && parseJsonObject(json, 'chat_template.json').chat_template
  return typeof inJson === 'string' ? inJson : undefined
}
