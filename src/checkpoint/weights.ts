// The weights of a Hugging Face folder: which files hold them, and one `TensorSource` over all of them under our names.
import { FormatError } from '../errors.ts'
import { type ByteSource, readWhole } from '../formats/bytes.ts'
import { describeValue, isJsonObject, parseStrictJsonObject, quote } from '../formats/json.ts'
import { openSafetensors } from '../formats/safetensors.ts'
import type { TensorInfo, TensorSource } from '../formats/tensors.ts'
import { openTorch } from '../formats/torch.ts'
import type { ModelFolder } from './folder.ts'

type Open = (source: ByteSource) => Promise<TensorSource>

/** An index takes some 100 bytes a tensor. */
const MAX_INDEX_BYTES = 64 * 2 ** 20

/** In the order in which they are looked for, the order of transformers. */
const KINDS: readonly { name: string; ending: string; open: Open }[] = [
  { name: 'model.safetensors', ending: '.safetensors', open: openSafetensors },
  { name: 'pytorch_model.bin', ending: '.bin', open: openTorch },
]

/** Names that the weights may have, or the index of their shards. */
export const WEIGHT_FILES = KINDS.flatMap(({ name }) => [name, `${name}.index.json`])

/** Buffers that older versions saved with the weights: rotary tables, causal masks, fairseq's version number. */
const BUFFERS =
  /\.rotary_emb\.(inv_freq|cos_cached|sin_cached)$|\.attn\.masked_bias$|\.attention\.(masked_)?bias$|^(model\.)?decoder\.version$/

export interface Weights {
  readonly tensors: TensorSource
  /** Bytes of the files in use. */
  readonly byteLength: number
}

interface Located {
  readonly source: TensorSource
  readonly storedName: string
  readonly info: TensorInfo
}

/**
 * Opens the weights in `folder`. Reads headers only.
 * @throws FormatError where there are none, a shard or a tensor of the index is missing, or two tensors get one name.
 */
export async function openWeights(folder: ModelFolder): Promise<Weights> {
  const found = findWeights(folder)
  return openShards(folder, await readShards(folder, found), found.open)
}

/** Names of the files that hold the weights; the index of shards is read if there is one. @throws FormatError as `openWeights` */
export const weightFiles = async (folder: ModelFolder): Promise<string[]> => [
  ...(await readShards(folder, findWeights(folder))).keys(),
]

interface Found {
  /** The weights, or the index of their shards. */
  readonly name: string
  readonly indexed: boolean
  readonly ending: string
  readonly open: Open
}

function findWeights({ name: folder, files }: ModelFolder): Found {
  for (const { name, ending, open } of KINDS) {
    if (files.has(name)) return { name, indexed: false, ending, open }
    const index = `${name}.index.json`
    if (files.has(index)) return { name: index, indexed: true, ending, open }
  }
  const onnx = files.has('onnx/') ? '. ONNX is written, not read: give the model that it was made from' : ''
  throw new FormatError(folder, `has no weights; wanted is one of ${WEIGHT_FILES.join(', ')}${onnx}`)
}

const readShards = async (folder: ModelFolder, { name, indexed, ending }: Found): Promise<Shards> =>
  indexed ? readIndex(folder, name, ending) : new Map([[name, undefined]])

/** Tensors by shard, as the index says; undefined stands for all that the file has. */
type Shards = ReadonlyMap<string, readonly string[] | undefined>

async function readIndex({ name: folder, files, open }: ModelFolder, index: string, ending: string): Promise<Shards> {
  const file = await open(index)
  const path = file.name
  const map = parseStrictJsonObject(await readWhole(file, MAX_INDEX_BYTES), path).weight_map
  if (!isJsonObject(map)) throw new FormatError(path, 'has no weight_map from tensor names to files; download it again')
  const shards = new Map<string, string[]>()
  for (const [tensor, shard] of Object.entries(map)) {
    if (typeof shard !== 'string' || !isPlainName(shard) || !shard.endsWith(ending)) {
      const allowed = `allowed are names of *${ending} files in the same folder`
      throw new FormatError(
        path,
        `puts ${quote(tensor)} into ${describeValue(shard)}; ${allowed}. Do not trust this file`,
      )
    }
    const names = shards.get(shard)
    if (names === undefined) shards.set(shard, [tensor])
    else names.push(tensor)
  }
  const missing = [...shards.keys()].filter(shard => !files.has(shard))
  if (missing.length > 0) {
    throw new FormatError(
      folder,
      `lacks ${missing.length} of ${shards.size} shards: ${missing.join(', ')}; download them`,
    )
  }
  return shards
}

const isPlainName = (name: string): boolean => !/[\\/:]/.test(name) && !name.includes('..') && !name.includes('\0')

async function openShards(folder: ModelFolder, shards: Shards, open: Open): Promise<Weights> {
  const opened: TensorSource[] = []
  const close = async () => {
    await Promise.all(opened.map(source => source.close()))
  }
  try {
    const located = new Map<string, Located>()
    let byteLength = 0
    for (const [shard, wanted] of shards) {
      const file = await folder.open(shard)
      const source = await open(file).catch(async error => {
        await file.close?.()
        throw error
      })
      opened.push(source)
      byteLength += file.byteLength
      for (const name of wanted ?? source.tensors.keys()) locate(located, source, name, file.name)
    }
    return { tensors: { ...merged(folder.name, located), close }, byteLength }
  } catch (error) {
    await close()
    throw error
  }
}

function locate(located: Map<string, Located>, source: TensorSource, storedName: string, path: string): void {
  const info = source.tensors.get(storedName)
  if (info === undefined) {
    throw new FormatError(
      path,
      `lacks the tensor ${quote(storedName)} that the index puts there; download the shard again`,
    )
  }
  if (BUFFERS.test(storedName)) return
  const name = tensorName(storedName)
  const other = located.get(name)
  if (other !== undefined) {
    throw new FormatError(
      path,
      `has ${quote(storedName)} besides ${quote(other.storedName)}: both are ${quote(name)}. Remove one`,
    )
  }
  located.set(name, { source, storedName, info: { ...info, name } })
}

/**
 * The name of a tensor in the whole model: checkpoints of a base model lack `model.`, those of facebook/opt-* among them.
 * Source: transformers, `base_model_prefix`; vLLM, opt.py (`decoder.` to `model.decoder.`).
 */
const tensorName = (stored: string): string =>
  /^(decoder|layers|embed_tokens|norm)\./.test(stored) ? `model.${stored}` : stored

function merged(folder: string, located: ReadonlyMap<string, Located>): Omit<TensorSource, 'close'> {
  const find = (name: string): Located => {
    const found = located.get(name)
    if (found === undefined) throw new FormatError(folder, `has no tensor ${quote(name)}`)
    return found
  }
  return {
    tensors: new Map([...located].map(([name, { info }]) => [name, info])),
    async bytes(name) {
      const { source, storedName } = find(name)
      return source.bytes(storedName)
    },
    async float32(name) {
      const { source, storedName } = find(name)
      return source.float32(storedName)
    },
    async rows(name, ids) {
      const { source, storedName } = find(name)
      return source.rows(storedName, ids)
    },
  }
}
