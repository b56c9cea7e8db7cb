// The weights of a Hugging Face folder: which files hold them, and one `TensorSource` over all of them under our names.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { FormatError } from '../errors.ts'
import type { ByteSource } from '../formats/bytes.ts'
import { openFile, readSmallFile } from '../formats/file.node.ts'
import { describeValue, isJsonObject, parseStrictJsonObject, quote } from '../formats/json.ts'
import { openSafetensors } from '../formats/safetensors.ts'
import type { TensorInfo, TensorSource } from '../formats/tensors.ts'
import { openTorch } from '../formats/torch.ts'

type Open = (source: ByteSource) => Promise<TensorSource>

/** An index takes some 100 bytes a tensor. */
const MAX_INDEX_BYTES = 64 * 2 ** 20

/** In the order in which they are looked for, the order of transformers. */
const KINDS: readonly { name: string; ending: string; open: Open }[] = [
  { name: 'model.safetensors', ending: '.safetensors', open: openSafetensors },
  { name: 'pytorch_model.bin', ending: '.bin', open: openTorch },
]

/** Buffers that older versions saved with the weights: rotary tables, causal masks, fairseq's version number. */
const BUFFERS = /\.rotary_emb\.(inv_freq|cos_cached|sin_cached)$|\.attn\.masked_bias$|^(model\.)?decoder\.version$/

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
 * Opens the weights among `files`, the names in `folder`. Reads headers only.
 * @throws FormatError where there are none, a shard or a tensor of the index is missing, or two tensors get one name.
 */
export async function openWeights(folder: string, files: ReadonlySet<string>): Promise<Weights> {
  const found = findWeights(folder, files)
  return openShards(folder, await readShards(folder, found, files), found.open)
}

/**
 * Names of the files that hold the weights, among `files`. The index of shards is asked for, and then read in `folder`, if there is one.
 * @throws FormatError as `openWeights`
 */
export async function weightFiles(
  folder: string,
  files: ReadonlySet<string>,
  provide: (index: string) => Promise<void> = async () => {},
): Promise<string[]> {
  const found = findWeights(folder, files)
  if (found.indexed) await provide(found.name)
  return [...(await readShards(folder, found, files)).keys()]
}

interface Found {
  /** The weights, or the index of their shards. */
  readonly name: string
  readonly indexed: boolean
  readonly ending: string
  readonly open: Open
}

function findWeights(folder: string, files: ReadonlySet<string>): Found {
  for (const { name, ending, open } of KINDS) {
    if (files.has(name)) return { name, indexed: false, ending, open }
    const index = `${name}.index.json`
    if (files.has(index)) return { name: index, indexed: true, ending, open }
  }
  const wanted = KINDS.flatMap(({ name }) => [name, `${name}.index.json`]).join(', ')
  const onnx = existsSync(join(folder, 'onnx'))
    ? '. ONNX is written, not read: give the model that it was made from'
    : ''
  throw new FormatError(folder, `has no weights; wanted is one of ${wanted}${onnx}`)
}

const readShards = async (folder: string, { name, indexed, ending }: Found, files: ReadonlySet<string>) =>
  indexed ? readIndex(folder, name, ending, files) : new Map([[name, undefined]])

/** Tensors by shard, as the index says; undefined stands for all that the file has. */
type Shards = ReadonlyMap<string, readonly string[] | undefined>

async function readIndex(folder: string, index: string, ending: string, files: ReadonlySet<string>): Promise<Shards> {
  const path = join(folder, index)
  const map = parseStrictJsonObject(await readSmallFile(path, MAX_INDEX_BYTES), path).weight_map
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

async function openShards(folder: string, shards: Shards, open: Open): Promise<Weights> {
  const opened: TensorSource[] = []
  const close = async () => {
    await Promise.all(opened.map(source => source.close()))
  }
  try {
    const located = new Map<string, Located>()
    let byteLength = 0
    for (const [shard, wanted] of shards) {
      const path = join(folder, shard)
      const file = await openFile(path)
      const source = await open(file).catch(async error => {
        await file.close?.()
        throw error
      })
      opened.push(source)
      byteLength += file.byteLength
      for (const name of wanted ?? source.tensors.keys()) locate(located, source, name, path)
    }
    return { tensors: { ...merged(folder, located), close }, byteLength }
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
