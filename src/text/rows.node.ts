// Files of text and of records: a .txt, the objects of a .jsonl, the rows of a .parquet, each also as .gz.
import { constants } from 'node:buffer'
import type { FileHandle } from 'node:fs/promises'
import { extname } from 'node:path'
import { createGunzip } from 'node:zlib'
import {
  type AsyncBuffer,
  type ColumnMetaData,
  type Compressors,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
  type SchemaElement,
  type SchemaTree,
} from 'hyparquet'
import { TextError } from '../base/errors.ts'
import { parseJson } from '../base/json.ts'
import { openRegular, readInto } from '../formats/file.node.ts'
import { checkStruct } from '../formats/thrift.ts'

/** V8 keeps no longer string (about 512 MiB), and UTF-8 never has fewer bytes than the string has UTF-16 units. */
export const MAX_TEXT_BYTES = constants.MAX_STRING_LENGTH
/** A .gz grows up to a thousandfold; a parquet file is held in memory, and one ArrayBuffer takes about this much. */
const MAX_INFLATED_BYTES = 2 ** 32

/** Metadata take some 100 bytes a column of a row group. All rows of a group become a table; pages have 1 MB. */
const [MAX_METADATA_BYTES, MAX_GROUP_ROWS, MAX_PAGE_BYTES] = [2 ** 26, 2 ** 22, 2 ** 26]
/** Values of a page, for which room is made before any is read: of a column without lists no more than rows. */
const MAX_PAGE_VALUES = MAX_GROUP_ROWS
/** Of the header of a page: a few dozen bytes, and the least and the largest value, which may be texts. */
const [USUAL_HEADER_BYTES, MAX_HEADER_BYTES] = [2 ** 12, 2 ** 22]

/** Ending that says what is in the file, without the .gz. */
export const fileKind = (path: string): string => extname(isZipped(path) ? path.slice(0, -3) : path).toLowerCase()

const isZipped = (path: string): boolean => path.toLowerCase().endsWith('.gz')

/**
 * A file of UTF-8 as one string, a byte order mark dropped.
 * @param allowed what a message says may be given @throws TextError
 */
export async function readUtf8(path: string, allowed: string): Promise<string> {
  const { handle, size } = await openText(path, allowed)
  await using file = handle
  if (!isZipped(path) && size > MAX_TEXT_BYTES) throw tooLarge(path, size)
  if (isZipped(path)) return decodeUtf8(path, await inflate(path, file, MAX_TEXT_BYTES))
  const bytes = new Uint8Array(size)
  await readInto(bytes, file, path, 0)
  return decodeUtf8(path, bytes)
}

const openText = (path: string, allowed: string) =>
  openRegular(path).catch(cause => {
    throw new TextError(`${cause.message}; give a text file: ${allowed}`, { cause })
  })

export const tooLarge = (path: string, bytes: number): TextError =>
  new TextError(
    `${path}: at least ${bytes} bytes of text, more than the ${MAX_TEXT_BYTES} that fit one string; ` +
      'give a part of the file: calibration needs a few million tokens at most',
  )

/** Inflates a .gz to memory and stops where it passes `limit`. */
async function inflate(path: string, handle: FileHandle, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  const inflated = createGunzip()
  const file = handle.createReadStream({ autoClose: false }).on('error', error => inflated.destroy(error))
  file.pipe(inflated)
  try {
    for await (const chunk of inflated) {
      length += chunk.length
      if (length > limit) throw tooLarge(path, length)
      chunks.push(chunk)
    }
  } catch (cause) {
    if (cause instanceof TextError) throw cause
    throw new TextError(`${path}: not a whole gzip file (${(cause as Error).message}); fetch or compress it again`, {
      cause,
    })
  } finally {
    file.destroy()
  }
  return Buffer.concat(chunks, length)
}

/** @throws TextError */
function decodeUtf8(path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    const where = firstInvalidByte(bytes)
    throw new TextError(`${path}: not UTF-8 from byte ${where} on; save the file as UTF-8`, { cause })
  }
}

/** Offset of the first byte that a lenient decoder replaces. U+FFFD itself may be in the text, as EF BF BD. */
function firstInvalidByte(bytes: Uint8Array): number {
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
  let offset = 0
  let from = 0
  for (let at = text.indexOf('\ufffd'); at >= 0; at = text.indexOf('\ufffd', from)) {
    offset += Buffer.byteLength(text.slice(from, at))
    if (bytes[offset] !== 0xef || bytes[offset + 1] !== 0xbf || bytes[offset + 2] !== 0xbd) return offset
    offset += 3
    from = at + 1
  }
  return offset
}

/** The value on each line that is not blank. @throws TextError for a line that is not JSON */
export function* jsonLines(
  path: string,
  lines: string,
): Generator<{ readonly where: string; readonly value: unknown }> {
  for (const [index, line] of lines.split('\n').entries()) {
    if (line.trim() === '') continue
    const where = `${path}: line ${index + 1}`
    let value: unknown
    try {
      value = parseJson(line)
    } catch (cause) {
      const problem = (cause as Error).message
      throw new TextError(`${where}: not JSON (${problem}); a whole object is needed on each line`, { cause })
    }
    yield { where, value }
  }
}

/**
 * The rows of a parquet file, row group by row group: the whole file need not fit.
 * @param choose the only column read, of all and of those that hold strings @default all columns
 * @throws TextError
 */
export async function* parquetRows(
  path: string,
  allowed: string,
  choose?: (columns: readonly string[], strings: readonly string[]) => string,
): AsyncGenerator<Record<string, unknown>> {
  const { handle, size } = await openText(path, allowed)
  await using opened = handle
  const file = isZipped(path) ? memory(await inflate(path, opened, MAX_INFLATED_BYTES)) : onDisk(path, opened, size)
  const compressors = await boundedCompressors()
  try {
    const metadata = await readMetadata(file)
    const schema = parquetSchema(metadata)
    const elements = schema.children.map(column => column.element)
    const names = (of: typeof elements) => of.map(({ name }) => name)
    const columns = choose && [choose(names(elements), names(elements.filter(isText)))]
    const stored = leaves(schema).join('\n')
    let rowStart = 0
    for (const group of metadata.row_groups) {
      // A column that is missing or there twice makes hyparquet forget other reads: where these fail, the process ends.
      const found = group.columns.map(({ meta_data }) => meta_data?.path_in_schema.join('.'))
      if (found.join('\n') !== stored) throw new Error('a row group has other columns than the schema')
      const rowEnd = rowStart + Number(group.num_rows)
      if (rowEnd - rowStart > MAX_GROUP_ROWS)
        throw new RangeError(`a row group of ${group.num_rows} rows, allowed are ${MAX_GROUP_ROWS}`)
      for (const { meta_data } of group.columns)
        if (meta_data && (!columns || columns.includes(meta_data.path_in_schema[0]))) await checkPages(file, meta_data)
      yield* await parquetReadObjects({ file, metadata, columns, rowStart, rowEnd, compressors })
      rowStart = rowEnd
    }
  } catch (cause) {
    if (cause instanceof TextError) throw cause
    throw new TextError(`${path}: cannot be read as parquet (${(cause as Error).message}); fetch or write it again`, {
      cause,
    })
  }
}

/** The metadata at the end, after which stands its length. hyparquet allocates as many elements as a list claims. */
async function readMetadata(file: AsyncBuffer): Promise<FileMetaData> {
  const end = file.byteLength - FOOTER_BYTES
  const length = end < 0 ? 0 : new DataView(await file.slice(end)).getUint32(0, true)
  if (length > Math.min(end, MAX_METADATA_BYTES)) throw new RangeError(`metadata of ${length} bytes`)
  checkStruct(new Uint8Array(await file.slice(end - length, end)))
  return parquetMetadataAsync(file)
}

/** Length of the metadata, magic number. */
const FOOTER_BYTES = 8

/** Headers of all pages of a column, before hyparquet makes room for what they claim. @throws RangeError */
async function checkPages(file: AsyncBuffer, column: ColumnMetaData): Promise<void> {
  const start = Number(column.dictionary_page_offset || column.data_page_offset)
  const end = Math.min(file.byteLength, start + Number(column.total_compressed_size))
  let left = Number(column.num_values)
  for (let at = start; at < end - 1; ) {
    const claims = new Map<string, number>()
    const length = await headerLength(file, at, end, claims).catch(error => {
      if (left > 0) throw error
    })
    if (length === undefined) return // hyparquet reads no further either
    const values = VALUES.map(field => claims.get(field) ?? 0)
    const most = Math.max(...values)
    if (most > MAX_PAGE_VALUES) throw new RangeError(`a page of ${most} values, allowed are ${MAX_PAGE_VALUES}`)
    left -= values[0] + values[1]
    at += length + Math.max(0, claims.get(COMPRESSED_BYTES) ?? 0)
  }
}

/** Fields of a page header: values of a data page, of a data page of version 2, of a dictionary; bytes after it. */
const [VALUES, COMPRESSED_BYTES] = [['5.1', '8.1', '7.1'], '3']

/** @param claims becomes the integers in it @throws RangeError */
async function headerLength(file: AsyncBuffer, at: number, end: number, claims: Map<string, number>): Promise<number> {
  for (let most = USUAL_HEADER_BYTES; ; most *= 32) {
    const bytes = new Uint8Array(await file.slice(at, Math.min(end, at + most)))
    try {
      return checkStruct(bytes, (field, value) => claims.set(field, value))
    } catch (error) {
      if (bytes.length < most || most >= MAX_HEADER_BYTES) throw error
    }
  }
}

/** Decompressors with room for one page, loaded when needed: V8 gives their WebAssembly 10 GB of addresses. */
async function boundedCompressors(): Promise<Compressors> {
  const { compressors } = await import('hyparquet-compressors')
  const bounded = Object.entries(compressors).map(([codec, decompress]) => [
    codec,
    (input: Uint8Array, length: number) => {
      if (length > MAX_PAGE_BYTES) throw new RangeError(`a page of ${length} bytes, allowed are ${MAX_PAGE_BYTES}`)
      return decompress(input, length)
    },
  ])
  return Object.fromEntries(bounded)
}

const isText = ({ converted_type, logical_type }: SchemaElement): boolean =>
  converted_type === 'UTF8' || logical_type?.type === 'STRING'

/** Paths of the columns that hold values. */
const leaves = ({ path, children }: SchemaTree): string[] =>
  children.length === 0 ? [path.join('.')] : children.flatMap(leaves)

const copy = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer

const memory = (bytes: Uint8Array): AsyncBuffer => ({
  byteLength: bytes.length,
  slice: (start, end) => copy(bytes.subarray(start, end)),
})

function onDisk(path: string, file: FileHandle, byteLength: number): AsyncBuffer {
  return {
    byteLength,
    // As ArrayBuffer's, which cuts ranges to what there is: hyparquet asks from the first column to the last.
    async slice(start, end = byteLength) {
      const from = start < 0 ? Math.max(0, byteLength + start) : Math.min(start, byteLength)
      const bytes = new Uint8Array(Math.max(0, Math.min(end, byteLength) - from))
      await readInto(bytes, file, path, from)
      return bytes.buffer
    },
  }
}
