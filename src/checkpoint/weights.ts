// The weights of a Hugging Face folder: which files hold them, and one `TensorSource` over all of them under our names.
import { type ByteSource, readWhole } from '../base/bytes.ts'
import { FormatError } from '../base/errors.ts'
import { describeValue, isJsonObject, parseStrictJsonObject, quote } from '../base/json.ts'
import { pickRows } from '../engine/linalg/scatter.ts'
import { type FloatDType, fromFloat32 } from '../formats/dtype.ts'
import { openSafetensors } from '../formats/safetensors.ts'
import type { TensorInfo, TensorSource } from '../formats/tensors.ts'
import { openTorch } from '../formats/torch.ts'
import type { ModelFolder } from './folder.ts'
import { MIXTURE_LAYER } from './gguf-names.ts'
import { type Part, partsOf } from './stacked-experts.ts'

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
const BUFFERS = new RegExp(
  String.raw`\.rotary_emb\.(inv_freq|cos_cached|sin_cached)$|\.attn\.masked_bias$|` +
    String.raw`\.attention\.(masked_)?bias$|^(model\.)?decoder\.version$`,
)

export interface Weights {
  readonly tensors: TensorSource
  /** Bytes of the files in use. */
  readonly byteLength: number
}

interface Located extends Part {
  readonly source: TensorSource
  readonly storedName: string
}

/**
 * Opens the weights in `folder`. Reads headers only.
 * @param mixture names of the modules of experts, where those are stacked
 * @throws FormatError where there are none, a shard or a tensor of the index is missing, or two tensors get one name.
 */
export async function openWeights(folder: ModelFolder, mixture: Mixture = MIXTURE_LAYER): Promise<Weights> {
  const found = findWeights(folder)
  return openShards(folder, await readShards(folder, found), found.open, mixture)
}

type Mixture = Parameters<typeof partsOf>[1]

/** Names of the weight files, by the index of shards if there is one. @throws FormatError as `openWeights` */
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

async function openShards(folder: ModelFolder, shards: Shards, open: Open, mixture: Mixture): Promise<Weights> {
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
      for (const name of wanted ?? source.tensors.keys())
        for (const part of partsOf(infoOf(source, name, file.name), mixture))
          locate(located, { source, storedName: name, ...part }, file.name)
    }
    return { tensors: { ...merged(folder.name, located), close }, byteLength }
  } catch (error) {
    await close()
    throw error
  }
}

/** Of a stored tensor, under our name. */
function infoOf(source: TensorSource, storedName: string, path: string): TensorInfo {
  const info = source.tensors.get(storedName)
  if (info === undefined) {
    throw new FormatError(
      path,
      `lacks the tensor ${quote(storedName)} that the index puts there; download the shard again`,
    )
  }
  return { ...info, name: tensorName(storedName) }
}

function locate(located: Map<string, Located>, part: Located, path: string): void {
  const { storedName, info } = part
  if (BUFFERS.test(storedName)) return
  const other = located.get(info.name)
  if (other !== undefined) {
    throw new FormatError(
      path,
      `has ${quote(storedName)} besides ${quote(other.storedName)}: both are ${quote(info.name)}. Remove one`,
    )
  }
  located.set(info.name, part)
}

/** A tensor's name in the whole model: base models lack `model.` (transformers, `base_model_prefix`; vLLM, opt.py). */
const tensorName = (stored: string): string =>
  /^(decoder|layers|embed_tokens|norm)\./.test(stored) ? `model.${stored}` : stored

function merged(folder: string, located: ReadonlyMap<string, Located>): Omit<TensorSource, 'close'> {
  const find = (name: string): Located => {
    const found = located.get(name)
    if (found === undefined) throw new FormatError(folder, `has no tensor ${quote(name)}`)
    return found
  }
  const float32 = async (name: string) => {
    const { source, storedName, expert, half } = find(name)
    if (expert === undefined) return source.float32(storedName)
    const values = await source.rows(storedName, Int32Array.of(expert))
    const size = values.length / 2
    return half === undefined ? values : values.slice(half * size, (half + 1) * size)
  }
  return {
    tensors: new Map([...located].map(([name, { info }]) => [name, info])),
    float32,
    async bytes(name) {
      const { source, storedName, expert, info } = find(name)
      return expert === undefined
        ? source.bytes(storedName)
        : fromFloat32(await float32(name), info.dtype as FloatDType)
    },
    async rows(name, ids) {
      const { source, storedName, expert, info } = find(name)
      return expert === undefined ? source.rows(storedName, ids) : pickRows(await float32(name), ids, info.shape[1])
    },
  }
}
