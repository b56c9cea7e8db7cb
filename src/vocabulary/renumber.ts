// A checkpoint with some tokens alone, in order. Rows stay as they are stored, block-quantised ones too. Source of
// fields: transformers, configuration_utils.py, generation/configuration_utils.py; the Rust tokenizers, processors.
import { isJsonObject, type JsonObject, parseJsonObject } from '../base/json.ts'
import { type Checkpoint, jsonFile, type SideFile } from '../checkpoint/checkpoint.ts'
import { gatherRows } from '../formats/rows.ts'
import type { TensorSource } from '../formats/tensors.ts'
import type { Model } from '../model/model.ts'
import { readMerges } from '../text/tokenizer-json.ts'

/** Fields whose numbers, at any depth, are ids: of configs, and of the parts of tokenizer.json beside its tables. */
const ID_FIELD = /token_(id|index)s?$|^((begin_)?suppress_tokens|bad_words_ids|ids|sep|cls|pad_id|unk_id)$/
/** What says the same as tokenizer.json, in older forms. */
const OLDER_FILES = ['vocab.json', 'merges.txt', 'added_tokens.json', 'tokenizer.model']

type Place = (id: number) => number

/** @param place gives the new id of each old one */
function withIds<T>(json: T, place: Place): T {
  const inside = (value: unknown) =>
    JSON.parse(JSON.stringify(value), (_, one) => (typeof one === 'number' ? place(one) : one))
  return JSON.parse(JSON.stringify(json), (key, value) => (ID_FIELD.test(key) ? inside(value) : value))
}

const decoderOf = (tokenizerConfig: JsonObject): JsonObject =>
  isJsonObject(tokenizerConfig.added_tokens_decoder) ? tokenizerConfig.added_tokens_decoder : {}

interface AddedToken extends JsonObject {
  readonly id: number
}

/** Ids that files name, special and added tokens among them. */
export function namedIds({ config, tokenizer, tokenizerConfig, sideFiles }: Checkpoint): number[] {
  const { added_tokens: added, post_processor, padding } = tokenizer
  const named = [...Object.keys(decoderOf(tokenizerConfig)).map(Number), ...(added as AddedToken[]).map(({ id }) => id)]
  const generation = sideFiles.filter(({ name }) => name === GENERATION).map(readJson)
  withIds([config, tokenizerConfig, generation, post_processor, padding], id => {
    named.push(id)
    return id
  })
  return named
}

const GENERATION = 'generation_config.json'
const readJson = ({ name, bytes }: SideFile) => parseJsonObject(bytes, name)

/** @param kept ids that stay, ascending: their places are the new ids */
export function renumber({ checkpoint, architecture: a }: Model, kept: Int32Array): Checkpoint {
  const places = new Map<number, number>()
  for (const [place, id] of kept.entries()) places.set(id, place)
  // Ids without a row stay: −1, as LLaMA's pad_token_id.
  const place: Place = id => places.get(id) ?? id
  const tokenizer = renumberTokenizer(checkpoint.tokenizer, places, place)
  const decoder = Object.entries(decoderOf(checkpoint.tokenizerConfig)).filter(([id]) => places.has(Number(id)))
  const tokenizerConfig = {
    ...withIds(checkpoint.tokenizerConfig, place),
    ...(decoder.length > 0 && {
      added_tokens_decoder: Object.fromEntries(decoder.map(([id, token]) => [place(Number(id)), token])),
    }),
  }
  const rewritten: Readonly<Record<string, (file: SideFile) => unknown>> = {
    'tokenizer.json': () => tokenizer,
    'tokenizer_config.json': () => tokenizerConfig,
    [GENERATION]: file => withIds(readJson(file), place),
  }
  const { gguf } = checkpoint
  return {
    ...checkpoint,
    config: { ...withIds(checkpoint.config, place), vocab_size: kept.length },
    tensors: withRows(checkpoint.tensors, [`${a.names.embedding}.weight`, `${a.names.head}.weight`], kept),
    tokenizer,
    tokenizerConfig,
    sideFiles: checkpoint.sideFiles
      .filter(({ name }) => !OLDER_FILES.includes(name))
      .map(file => (file.name in rewritten ? jsonFile(file.name, rewritten[file.name](file)) : file)),
    gguf: gguf && { ...gguf, metadata: new Map([...gguf.metadata].filter(([key]) => staysInGguf(key))) },
  }
}

/** The tokenizer is written anew (write/gguf/tokenizer.ts), but for the name of its rules. */
const staysInGguf = (key: string): boolean => !key.startsWith('tokenizer.') || key === 'tokenizer.ggml.pre'

function renumberTokenizer(json: JsonObject, places: ReadonlyMap<number, number>, place: Place): JsonObject {
  const model = json.model as JsonObject
  const added = (json.added_tokens as AddedToken[]).filter(({ id }) => places.has(id))
  return {
    ...json,
    ...withIds({ post_processor: json.post_processor, padding: json.padding }, place),
    added_tokens: added.map(token => ({ ...token, id: place(token.id) })),
    model: model.type === 'BPE' ? { ...model, ...keptMerges(model, places) } : keptPieces(model, places, place),
  }
}

function keptMerges(model: JsonObject, places: ReadonlyMap<number, number>) {
  const tokens = Object.entries(model.vocab as Record<string, number>).filter(([, id]) => places.has(id))
  const vocab = new Map(tokens.map(([token, id]) => [token, places.get(id)!]))
  const merges = readMerges(model).filter(([left, right]) => [left, right, left + right].every(part => vocab.has(part)))
  return { vocab: Object.fromEntries(vocab), merges }
}

/** The place of a piece in the list is its id; added tokens that are not in it come after it. */
const keptPieces = (model: JsonObject, places: ReadonlyMap<number, number>, place: Place) => ({
  ...withIds({ ...model, vocab: null }, place),
  vocab: (model.vocab as unknown[]).filter((_, id) => places.has(id)),
})

/** The source with these rows alone of the matrices `names`. */
function withRows(source: TensorSource, names: readonly string[], kept: Int32Array): TensorSource {
  const isCut = (name: string) => names.includes(name) && source.tensors.has(name)
  return {
    tensors: new Map(
      [...source.tensors].map(([name, info]) => [
        name,
        isCut(name) ? { ...info, shape: [kept.length, ...info.shape.slice(1)] } : info,
      ]),
    ),
    async bytes(name) {
      const bytes = await source.bytes(name)
      if (!isCut(name)) return bytes
      const rowBytes = bytes.length / source.tensors.get(name)!.shape[0]
      return gatherRows(kept, rowBytes, async (from, to) => bytes.subarray(from * rowBytes, to * rowBytes))
    },
    float32: name => (isCut(name) ? source.rows(name, kept) : source.float32(name)),
    rows: (name, ids) => source.rows(name, isCut(name) ? ids.map(id => kept[id]) : ids),
    close: () => source.close(),
  }
}
