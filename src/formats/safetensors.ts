// Safetensors: the reader with every check of the reference implementation, and the layout of a file for the writer.
// File: u64 header length, JSON header {name: {dtype, shape, data_offsets: [begin, end]}}, data; all little-endian.
// Source: github.com/huggingface/safetensors, safetensors/src/tensor.rs.
import { type ByteSource, readBytes } from '../base/bytes.ts'
import { FormatError, OutputError } from '../base/errors.ts'
import { describeValue, isJsonObject, parseStrictJsonObject, quote } from '../base/json.ts'
import { DTYPE_BYTES, isDType, toFloat32 } from './dtype.ts'
import { gatherRows } from './rows.ts'
import { type DType, elements, MAX_RANK, type TensorInfo, type TensorSource } from './tensors.ts'

/** A tensor takes some 100 bytes. The reference allows 100 MB, for which JSON.parse may take gigabytes. */
const MAX_HEADER_BYTES = 32_000_000
/** {name: {shape: []}} */
const HEADER_DEPTH = 3
/** The u64 before the header. */
const LENGTH_BYTES = 8
/** Header and data start at multiples of this, so that a memory map serves aligned tensors. */
const ALIGNMENT = 8
/** Order of the reference writer: largest alignment first, then by its enum of types. */
const WRITE_ORDER: readonly DType[] = ['I64', 'F64', 'F32', 'I32', 'BF16', 'F16', 'I16', 'I8', 'U8', 'BOOL']

interface Stored extends TensorInfo {
  readonly dtype: DType
  /** Offsets in the file. */
  readonly start: number
  readonly end: number
}

/**
 * Reads the header; tensors are read when asked for. Closing the result closes `source`.
 * @throws FormatError where the header is malformed or contradicts the file.
 */
export async function openSafetensors(source: ByteSource): Promise<TensorSource> {
  const tensors = await readHeader(source)
  const find = (name: string): Stored => {
    const tensor = tensors.get(name)
    if (tensor === undefined) throw new FormatError(source.name, `has no tensor ${quote(name)}`)
    return tensor
  }
  const bytes = async (name: string) => {
    const { start, end } = find(name)
    return readBytes(source, start, end)
  }
  return {
    tensors,
    bytes,
    float32: async name => toFloat32(await bytes(name), find(name).dtype),
    async rows(name, ids) {
      const { start, end, shape, dtype } = find(name)
      const row = (end - start) / shape[0]
      const read = (from: number, to: number) => readBytes(source, start + from * row, start + to * row)
      return toFloat32(await gatherRows(ids, row, read), dtype)
    },
    close: async () => source.close?.(),
  }
}

async function readHeader(source: ByteSource): Promise<Map<string, Stored>> {
  const file = source.name
  if (source.byteLength < LENGTH_BYTES) {
    throw new FormatError(file, `has ${source.byteLength} bytes, too few for safetensors; download it again`)
  }
  const length = new DataView((await readBytes(source, 0, LENGTH_BYTES)).buffer).getBigUint64(0, true)
  const room = source.byteLength - LENGTH_BYTES
  if (length > BigInt(Math.min(room, MAX_HEADER_BYTES))) {
    const allowed = `at most ${MAX_HEADER_BYTES} and the ${room} bytes that follow`
    const hint = 'the file is cut short or not safetensors, download it again'
    throw new FormatError(file, `claims a header of ${length} bytes, allowed are ${allowed}; ${hint}`)
  }
  const dataStart = LENGTH_BYTES + Number(length)
  const bytes = await readBytes(source, LENGTH_BYTES, dataStart)
  const header = parseStrictJsonObject(bytes, file, 'the safetensors header', HEADER_DEPTH)
  const tensors = new Map<string, Stored>()
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') checkMetadata(entry, file)
    else tensors.set(name, readEntry(name, entry, file, dataStart))
  }
  checkCoverage(tensors, file, dataStart, source.byteLength)
  return tensors
}

function checkMetadata(metadata: unknown, file: string): void {
  if (isJsonObject(metadata) && Object.values(metadata).every(value => typeof value === 'string')) return
  throw new FormatError(file, '__metadata__ in the header must map strings to strings')
}

function readEntry(name: string, entry: unknown, file: string, dataStart: number): Stored {
  const fail = (problem: string) => new FormatError(file, `tensor ${quote(name)} ${problem}`)
  if (!isJsonObject(entry)) throw fail('has no {dtype, shape, data_offsets}; write the file again')
  const { dtype, shape, data_offsets: offsets } = entry
  if (!isDType(dtype)) {
    const allowed = Object.keys(DTYPE_BYTES).join(', ')
    throw fail(`has dtype ${describeValue(dtype)}; allowed are ${allowed}. Convert the checkpoint to one of them`)
  }
  if (!isSizes(shape) || shape.length > MAX_RANK)
    throw fail(`has a shape that is no list of at most ${MAX_RANK} non-negative integers below 2^53`)
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0] > offsets[1]) {
    throw fail('has data_offsets other than [begin, end] with 0 ≤ begin ≤ end < 2^53')
  }
  const wanted = byteLength(dtype, shape)
  if (wanted === undefined) throw fail(`has shape [${shape}], more than 2^53 bytes`)
  const [begin, end] = offsets
  if (end - begin !== wanted) {
    throw fail(`has ${end - begin} bytes in the file, but ${dtype} of shape [${shape}] needs ${wanted}`)
  }
  return { name, dtype, shape, start: dataStart + begin, end: dataStart + end }
}

const isSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every(size => Number.isSafeInteger(size) && size >= 0)

/** Bytes of a dense tensor, or undefined where a product on the way passes 2^53. */
function byteLength(dtype: DType, shape: readonly number[]): number | undefined {
  let bytes = DTYPE_BYTES[dtype]
  for (const size of shape) {
    bytes *= size
    if (!Number.isSafeInteger(bytes)) return undefined
  }
  return bytes
}

/** The tensors must cover the data without gap or overlap: no byte of the file is unaccounted for. */
function checkCoverage(tensors: Map<string, Stored>, file: string, dataStart: number, fileEnd: number): void {
  let at = dataStart
  for (const { name, start, end } of [...tensors.values()].sort((a, b) => a.start - b.start || a.end - b.end)) {
    if (end > fileEnd) {
      const problem = `tensor ${quote(name)} ends at byte ${end}, but the file has ${fileEnd}`
      throw new FormatError(file, `${problem}; it is cut short, download it again`)
    }
    if (start < at) throw new FormatError(file, `tensor ${quote(name)} overlaps another one; write the file again`)
    if (start > at) {
      throw new FormatError(
        file,
        `${start - at} bytes before tensor ${quote(name)} belong to none; write the file again`,
      )
    }
    at = end
  }
  if (at !== fileEnd)
    throw new FormatError(file, `${fileEnd - at} bytes at the end belong to no tensor; write the file again`)
}

/** A tensor to be written. */
export interface DenseTensorInfo extends TensorInfo {
  readonly dtype: DType
}

/** Where a tensor goes in the file. */
export interface PlacedTensor extends DenseTensorInfo {
  /** Offset in the file. */
  readonly offset: number
  readonly byteLength: number
}

export interface SafetensorsLayout {
  /** First bytes of the file: length and header. */
  readonly header: Uint8Array<ArrayBuffer>
  /** In file order. Each may be written on its own, in any order. */
  readonly tensors: ReadonlyMap<string, PlacedTensor>
  /** Length of the whole file. */
  readonly byteLength: number
}

/**
 * Lays out a file, so that its tensors can be written in any order.
 * @param metadata strings for `__metadata__`; transformers 4.45 loads no file without `format`
 * @default metadata {"format": "pt"}
 * @throws OutputError for a name that is reserved or given twice, or a header beyond the format's limit
 */
export function layoutSafetensors(
  infos: Iterable<DenseTensorInfo>,
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): SafetensorsLayout {
  const rank = ({ dtype }: DenseTensorInfo) => WRITE_ORDER.indexOf(dtype)
  const sorted = [...infos].sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1))
  const entries = [`"__metadata__":${JSON.stringify(metadata)}`]
  let end = 0 // of the data so far
  const placed: PlacedTensor[] = []
  for (const { name, dtype, shape } of sorted) {
    const bytes = byteLength(dtype, shape)
    if (bytes === undefined)
      throw new OutputError(`Tensor ${quote(name)} of shape [${shape}] is larger than 2^53 bytes`)
    entries.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: [end, end + bytes] })}`)
    placed.push({ name, dtype, shape, offset: end, byteLength: bytes })
    end += bytes
  }
  const header = encodeHeader(`{${entries.join(',')}}`)
  const tensors = new Map(placed.map(t => [t.name, { ...t, offset: header.byteLength + t.offset }]))
  if (tensors.size !== placed.length)
    throw new OutputError('Two tensors have one name; safetensors allows each name once')
  if (tensors.has('__metadata__'))
    throw new OutputError('A tensor is called __metadata__, a name that safetensors reserves')
  return { header, tensors, byteLength: header.byteLength + end }
}

/** Largest shard in bytes: what transformers 4 writes by default and every loader takes. */
const SHARD_BYTES = 5e9

/** Files that hold the tensors in their order, each with at most `shardBytes` of them, or one. */
export function layoutShards(infos: Iterable<DenseTensorInfo>, shardBytes = SHARD_BYTES): SafetensorsLayout[] {
  const groups: DenseTensorInfo[][] = [[]]
  let size = 0
  for (const info of infos) {
    const bytes = elements(info.shape) * DTYPE_BYTES[info.dtype]
    if (size > 0 && size + bytes > shardBytes) {
      groups.push([])
      size = 0
    }
    groups.at(-1)!.push(info)
    size += bytes
  }
  return groups.map(group => layoutSafetensors(group))
}

/** Bytes of these files. */
export const shardedBytes = (infos: Iterable<DenseTensorInfo>): number =>
  layoutShards(infos).reduce((sum, { byteLength }) => sum + byteLength, 0)

function encodeHeader(json: string): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(json)
  const length = Math.ceil(text.byteLength / ALIGNMENT) * ALIGNMENT
  if (length > MAX_HEADER_BYTES) {
    throw new OutputError(
      `The safetensors header has ${length} bytes, allowed are ${MAX_HEADER_BYTES}; use smaller shards`,
    )
  }
  const header = new Uint8Array(LENGTH_BYTES + length).fill(0x20) // padded with spaces
  new DataView(header.buffer).setBigUint64(0, BigInt(length), true)
  header.set(text, LENGTH_BYTES)
  return header
}
