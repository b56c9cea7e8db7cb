// GGUF files, versions 2 and 3, little-endian: metadata and lazy tensors under the names in the file.
// Source: ggml/docs/gguf.md. magic, version, counts; key-value pairs; tensor infos; padding; tensor data. Nothing in a
// file is trusted: a count or length is checked against the bytes that are left before anything is allocated.
import { type ByteSource, readBytes } from '../base/bytes.ts'
import { FormatError, UsageError } from '../base/errors.ts'
import { describeValue, quote } from '../base/json.ts'
import { DTYPE_BYTES, isDType, toFloat32 } from './dtype.ts'
import type { Gguf, GgufValue } from './gguf-contents.ts'
import { GgufCursor } from './gguf-cursor.ts'
import { dequantize, isQuantized, QUANTIZED_BLOCKS } from './gguf-dequantize.ts'
import { gatherRows } from './rows.ts'
import { type BlockType, type DType, elements, type TensorInfo, type TensorSource } from './tensors.ts'

/** Type numbers of ggml (ggml.h, `enum ggml_type`) that we read. */
export const GGML_TYPES: ReadonlyMap<number, DType | BlockType> = new Map([
  [0, 'F32'],
  [1, 'F16'],
  [2, 'Q4_0'],
  [3, 'Q4_1'],
  [6, 'Q5_0'],
  [7, 'Q5_1'],
  [8, 'Q8_0'],
  [10, 'Q2_K'],
  [11, 'Q3_K'],
  [12, 'Q4_K'],
  [13, 'Q5_K'],
  [14, 'Q6_K'],
  [20, 'IQ4_NL'],
  [23, 'IQ4_XS'],
  [24, 'I8'],
  [25, 'I16'],
  [26, 'I32'],
  [27, 'I64'],
  [28, 'F64'],
  [30, 'BF16'],
])

/** Types that we know only by name, for the message. */
const UNREADABLE_TYPES: ReadonlyMap<number, string> = new Map(
  Object.entries({
    Q8_1: 9,
    Q8_K: 15,
    IQ2_XXS: 16,
    IQ2_XS: 17,
    IQ3_XXS: 18,
    IQ1_S: 19,
    IQ3_S: 21,
    IQ2_S: 22,
    IQ4_XS: 23,
    IQ1_M: 29,
    TQ1_0: 34,
    TQ2_0: 35,
    MXFP4: 39,
    NVFP4: 40,
  }).map(([name, id]) => [id, name]),
)

/** Key length 8, key 1, type 4, value 1. */
const MIN_PAIR_BYTES = 14
/** Name length 8, name 1, dimension count 4, one dimension 8, type 4, offset 8. */
const MIN_INFO_BYTES = 33
/** A tensor takes 500 bytes of memory, so these take 25 MB; the largest dense models have 2,000. */
const MAX_TENSORS = 50_000
/** Files have some 50 pairs. */
const MAX_PAIRS = 10_000
/** GGML_MAX_DIMS. */
const MAX_DIMS = 4
/** Of the specification. */
const DEFAULT_ALIGNMENT = 32
/** Files have 32 or 64. More than this is damage, and padding up to it must stay a safe integer. */
const MAX_ALIGNMENT = 2 ** 20

interface Placed extends TensorInfo {
  readonly offset: number // in the file once the header has been read
  readonly byteLength: number
}

/** Reads a GGUF file's header, and leaves the tensors where they are. @throws FormatError for what is no sound GGUF */
export async function openGguf(source: ByteSource): Promise<Gguf> {
  const cursor = new GgufCursor(source)
  const version = await readVersion(cursor)
  const tensorCount = await cursor.count(MIN_INFO_BYTES, MAX_TENSORS, 'the number of tensors')
  const pairCount = await cursor.count(MIN_PAIR_BYTES, MAX_PAIRS, 'the number of metadata pairs')
  const { metadata, places } = await readMetadata(cursor, pairCount)
  const alignment = checkAlignment(cursor, metadata.get('general.alignment') ?? DEFAULT_ALIGNMENT)
  const infos = await readInfos(cursor, tensorCount)
  const start = Math.ceil(cursor.offset / alignment) * alignment
  const placed = place(cursor, infos, start, alignment)
  const rawValue = async (key: string) => readBytes(source, ...places.get(key)!)
  const rawBytes = (key: string) => places.get(key)![1] - places.get(key)![0]
  const { byteLength } = source
  return { version, metadata, rawValue, rawBytes, tensors: lazyTensors(source, placed), byteLength }
}

async function readVersion(cursor: GgufCursor): Promise<2 | 3> {
  await cursor.ensure(8, 'the magic and the version')
  const magic = cursor.u32()
  if (magic !== 0x46554747)
    throw cursor.error(`not a GGUF file: it starts with 0x${hex(magic)} instead of "GGUF". Give a .gguf file`)
  const version = cursor.u32()
  if (version === 2 || version === 3) return version
  if (version > 0 && version % 2 ** 24 === 0)
    throw cursor.error('a big-endian GGUF file; only little-endian ones are read. Convert it with gguf-convert-endian')
  throw cursor.error(
    `GGUF version ${version}; versions 2 and 3 are read. Convert the model again with a current llama.cpp`,
  )
}

async function readMetadata(cursor: GgufCursor, count: number) {
  const metadata = new Map<string, GgufValue>()
  const places = new Map<string, [start: number, end: number]>() // of the values in the file
  for (let i = 0; i < count; i++) {
    const key = await cursor.text(`the key of metadata pair ${i}`)
    if (metadata.has(key)) throw cursor.error(`the metadata key ${quote(key)} appears twice`)
    const start = cursor.offset
    metadata.set(key, await cursor.value(`the value of ${quote(key)}`))
    places.set(key, [start, cursor.offset])
  }
  return { metadata, places }
}

function checkAlignment(cursor: GgufCursor, value: GgufValue): number {
  if (typeof value === 'number' && value >= 1 && value <= MAX_ALIGNMENT && Number.isInteger(Math.log2(value)))
    return value
  throw cursor.error(`general.alignment is ${describeValue(value)}; it must be a power of two up to ${MAX_ALIGNMENT}`)
}

async function readInfos(cursor: GgufCursor, count: number): Promise<Placed[]> {
  const infos: Placed[] = []
  for (let i = 0; i < count; i++) {
    const name = await cursor.text(`the name of tensor ${i}`)
    await cursor.ensure(4, `the dimensions of ${quote(name)}`)
    const rank = cursor.u32()
    if (rank < 1 || rank > MAX_DIMS)
      throw cursor.error(`${quote(name)} has ${rank} dimensions; 1 to ${MAX_DIMS} are allowed`)
    await cursor.ensure(8 * rank + 12, `the description of ${quote(name)}`)
    const shape = Array.from({ length: rank }, () => cursor.u64(`a dimension of ${quote(name)}`)).reverse()
    const dtype = readType(cursor, name)
    const offset = cursor.u64(`the offset of ${quote(name)}`)
    infos.push({ name, dtype, shape, offset, byteLength: storedBytes(cursor, name, dtype, shape) })
  }
  return infos
}

function readType(cursor: GgufCursor, name: string): DType | BlockType {
  const id = cursor.u32()
  const type = GGML_TYPES.get(id)
  if (type !== undefined) return type
  throw cursor.error(
    `${quote(name)} has type ${UNREADABLE_TYPES.get(id) ?? `number ${id}`}, which is not read. ` +
      `Supported: ${[...GGML_TYPES.values()].join(', ')}. Use a file in one of these, such as Q8_0 or F16`,
  )
}

function storedBytes(cursor: GgufCursor, name: string, dtype: DType | BlockType, shape: readonly number[]): number {
  const block = isQuantized(dtype) ? QUANTIZED_BLOCKS[dtype] : { elements: 1, bytes: DTYPE_BYTES[dtype] }
  const row = shape[shape.length - 1]
  if (row % block.elements !== 0)
    throw cursor.error(
      `${quote(name)} has rows of ${row} elements, no multiple of the ${block.elements} of a ${dtype} block`,
    )
  // Divide before multiplying: the number of elements may pass 2^53 while every dimension is safe.
  const bytes = shape.slice(0, -1).reduce((product, n) => product * n, (row / block.elements) * block.bytes)
  if (shape.includes(0) || !Number.isSafeInteger(bytes) || !Number.isSafeInteger(elements(shape)))
    throw cursor.error(
      `${quote(name)} has shape [${shape.join(', ')}]; every dimension must be 1 or more and the product below 2^53`,
    )
  return bytes
}

/** Turns offsets in the data section into file offsets, and checks that tensors lie inside, apart from each other. */
function place(cursor: GgufCursor, infos: readonly Placed[], start: number, alignment: number): Map<string, Placed> {
  const placed = new Map<string, Placed>()
  const size = cursor.source.byteLength
  for (const info of infos) {
    const { name, byteLength } = info
    if (placed.has(name)) throw cursor.error(`the tensor ${quote(name)} appears twice`)
    if (info.offset % alignment !== 0)
      throw cursor.error(
        `${quote(name)} starts at ${info.offset} of the data, no multiple of the alignment ${alignment}`,
      )
    const offset = start + info.offset
    if (offset + byteLength > size)
      throw cursor.error(
        `cut short: ${quote(name)} ends at byte ${offset + byteLength} of ${size}. Fetch the file again`,
      )
    placed.set(name, { ...info, offset })
  }
  const ordered = [...placed.values()].sort((a, b) => a.offset - b.offset)
  for (let i = 1; i < ordered.length; i++)
    if (ordered[i - 1].offset + ordered[i - 1].byteLength > ordered[i].offset)
      throw cursor.error(`the tensors ${quote(ordered[i - 1].name)} and ${quote(ordered[i].name)} overlap`)
  return placed
}

function lazyTensors(source: ByteSource, tensors: ReadonlyMap<string, Placed>): TensorSource {
  const find = (name: string) => {
    const info = tensors.get(name)
    if (info === undefined) throw new FormatError(source.name, `no tensor ${quote(name)} among its ${tensors.size}`)
    return info
  }
  /** Bytes `from` to `to` of the tensor. */
  const stored = async ({ name, offset, byteLength }: Placed, from = 0, to = byteLength) => {
    const bytes = new Uint8Array(await source.slice(offset + from, offset + to))
    if (bytes.length !== to - from)
      throw new FormatError(source.name, `cut short: ${quote(name)} has ${from + bytes.length} of ${byteLength} bytes`)
    return bytes
  }
  const decode = (bytes: Uint8Array<ArrayBuffer>, { dtype }: Placed) =>
    isDType(dtype) ? toFloat32(bytes, dtype) : dequantize(bytes, dtype)
  return {
    tensors,
    bytes: async name => {
      const info = find(name)
      if (!isDType(info.dtype))
        throw new UsageError(
          `${source.name}: ${quote(name)} is ${info.dtype}, which has no dense bytes. Read it as float32`,
        )
      return stored(info)
    },
    float32: async name => decode(await stored(find(name)), find(name)),
    rows: async (name, ids) => {
      const info = find(name)
      const row = info.byteLength / info.shape[0]
      return decode(await gatherRows(ids, row, (from, to) => stored(info, from * row, to * row)), info)
    },
    close: async () => source.close?.(),
  }
}

const hex = (word: number): string => word.toString(16).padStart(8, '0')
