// Calibration and evaluation, before the tokenizer: a file → one string.
// Documents of a .jsonl or .parquet file are joined with a blank line, as the GPTQ protocol joins the rows of WikiText-2 (arXiv 2210.17323).
import { constants } from 'node:buffer'
import { createReadStream } from 'node:fs'
import { type FileHandle, open, readFile } from 'node:fs/promises'
import { extname } from 'node:path'
import { createGunzip } from 'node:zlib'
import { type AsyncBuffer, parquetMetadataAsync, parquetReadObjects, parquetSchema } from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { TextError } from '../errors.ts'

/** Column or field that holds the text, as in the datasets of the Hugging Face Hub. */
const FIELD = 'text'
/** Between two documents. */
const SEPARATOR = '\n\n'
const ALLOWED =
  '.txt (UTF-8), .jsonl or .json (an object with "text" on each line) or .parquet (column "text"), each also as .gz'
/** V8 keeps no longer string (about 512 MiB), and UTF-8 never has fewer bytes than the string has UTF-16 units. */
const MAX_TEXT_BYTES = constants.MAX_STRING_LENGTH
/** A .gz grows up to a thousandfold; a parquet file is held in memory, and one ArrayBuffer takes about this much. */
const MAX_INFLATED_BYTES = 2 ** 32

/**
 * The text of a file, a UTF-8 byte order mark dropped, line ends as they are.
 * @throws TextError for a missing file, a folder, an unknown or malformed form, a text too large, no text at all
 */
export async function readText(path: string): Promise<string> {
  const zipped = path.toLowerCase().endsWith('.gz')
  const kind = extname(zipped ? path.slice(0, -3) : path).toLowerCase()
  if (!['.txt', '.jsonl', '.json', '.parquet'].includes(kind))
    throw new TextError(`${path}: unknown kind of text file; allowed are ${ALLOWED}`)
  await using file = await openFile(path)
  const { size } = await file.stat()
  const limit = kind === '.parquet' ? MAX_INFLATED_BYTES : MAX_TEXT_BYTES
  if (!zipped && kind !== '.parquet' && size > limit) throw tooLarge(path, size)
  let text: string
  if (kind === '.parquet')
    text = await parquetText(path, zipped ? memory(await inflate(path, limit)) : onDisk(file, size))
  else {
    text = decodeUtf8(path, zipped ? await inflate(path, limit) : await readFile(file))
    if (kind !== '.txt') text = jsonLinesText(path, text)
  }
  if (text.trim() === '') throw new TextError(`${path}: no text in it; give a file with at least one window of text`)
  return text
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    const file = await open(path)
    if ((await file.stat()).isFile()) return file
    await file.close()
  } catch (cause) {
    const problem = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : (cause as Error).message
    throw new TextError(`${path}: ${problem}; give a text file: ${ALLOWED}`, { cause })
  }
  throw new TextError(`${path}: a folder or device, not a file; give a text file: ${ALLOWED}`)
}

const tooLarge = (path: string, bytes: number): TextError =>
  new TextError(
    `${path}: at least ${bytes} bytes of text, more than the ${MAX_TEXT_BYTES} that fit one string; give a part of the file: calibration needs a few million tokens at most`,
  )

/** Inflates a .gz to memory and stops where it passes `limit`. */
async function inflate(path: string, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  const inflated = createGunzip()
  const file = createReadStream(path).on('error', error => inflated.destroy(error))
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

function decodeUtf8(path: string, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    const where = firstInvalidByte(bytes)
    throw new TextError(`${path}: not UTF-8 from byte ${where} on; save the file as UTF-8`, { cause })
  }
}

/** Offset of the first byte that a lenient decoder replaces. The mark U+FFFD itself may stand in the text, as EF BF BD. */
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

function jsonLinesText(path: string, lines: string): string {
  const documents: string[] = []
  for (const [index, line] of lines.split('\n').entries()) {
    if (line.trim() === '') continue
    const where = `${path}: line ${index + 1}`
    let value: unknown
    try {
      value = JSON.parse(line)
    } catch (cause) {
      const problem = (cause as Error).message
      throw new TextError(`${where}: not JSON (${problem}); a whole object is needed on each line`, { cause })
    }
    const text = (value as Record<string, unknown> | null)?.[FIELD]
    if (typeof text !== 'string')
      throw new TextError(`${where}: not an object with a string "${FIELD}"; rename the field that holds the text`)
    documents.push(text)
  }
  return documents.join(SEPARATOR)
}

async function parquetText(path: string, file: AsyncBuffer): Promise<string> {
  const documents: string[] = []
  try {
    const metadata = await parquetMetadataAsync(file)
    const columns = parquetSchema(metadata).children.map(column => column.element.name)
    if (!columns.includes(FIELD))
      throw new TextError(
        `${path}: no column "${FIELD}", only ${columns.join(', ')}; rename the column that holds the text`,
      )
    let length = 0
    let rowStart = 0
    // Row group by row group: the whole file need not fit, and a text too large is noticed early.
    for (const group of metadata.row_groups) {
      const rowEnd = rowStart + Number(group.num_rows)
      for (const row of await parquetReadObjects({ file, metadata, columns: [FIELD], rowStart, rowEnd, compressors })) {
        const text: unknown = row[FIELD]
        if (text === null || text === undefined) continue
        if (typeof text !== 'string')
          throw new TextError(`${path}: column "${FIELD}" holds ${typeof text} values; it must hold strings`)
        length += text.length + SEPARATOR.length
        if (length > MAX_TEXT_BYTES) throw tooLarge(path, length)
        documents.push(text)
      }
      rowStart = rowEnd
    }
  } catch (cause) {
    if (cause instanceof TextError) throw cause
    throw new TextError(`${path}: cannot be read as parquet (${(cause as Error).message}); fetch or write it again`, {
      cause,
    })
  }
  return documents.join(SEPARATOR)
}

const copy = (bytes: Uint8Array): ArrayBuffer => new Uint8Array(bytes).buffer

const memory = (bytes: Uint8Array): AsyncBuffer => ({
  byteLength: bytes.length,
  slice: (start, end) => copy(bytes.subarray(start, end)),
})

function onDisk(file: FileHandle, byteLength: number): AsyncBuffer {
  return {
    byteLength,
    async slice(start, end = byteLength) {
      const from = start < 0 ? Math.max(0, byteLength + start) : start
      const { buffer, bytesRead } = await file.read(new Uint8Array(Math.min(end, byteLength) - from), {
        position: from,
      })
      return copy(buffer.subarray(0, bytesRead))
    },
  }
}
