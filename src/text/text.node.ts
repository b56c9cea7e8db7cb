// A file of calibration or evaluation text → one string. Documents of a .jsonl or .parquet file are joined with a blank
// line, as the GPTQ protocol joins the rows of WikiText-2 (arXiv 2210.17323).
import { TextError } from '../base/errors.ts'
import { type NamedText, OWN_TEXT, type Reading, type TextFile } from './calibration.ts'
import { fileKind, jsonLines, MAX_TEXT_BYTES, parquetRows, readUtf8, tooLarge } from './rows.node.ts'

/** Column or field that holds the text, as in the datasets of the Hugging Face Hub. */
const FIELD = 'text'
/** Between two documents. */
const SEPARATOR = '\n\n'
export const ALLOWED =
  '.txt (UTF-8), .jsonl or .json (an object with "text" on each line) or .parquet ' +
  '(column "text", or the only one of strings), each also as .gz'

export const namedText = (file: TextFile): NamedText =>
  file.own ? OWN_TEXT : { ...file, text: () => readText(file.path, file) }

/**
 * The text of a file, a UTF-8 byte order mark dropped, line ends as they are.
 * @throws TextError for a missing file, a folder, an unknown or malformed form, a text too large, no text at all
 */
export async function readText(path: string, reading: Reading = {}): Promise<string> {
  const text = await read(path, fileKind(path), reading)
  if (text.trim() === '') throw new TextError(`${path}: no text in it; give a file with at least one window of text`)
  return text
}

async function read(path: string, kind: string, reading: Reading): Promise<string> {
  if (kind === '.txt') return readUtf8(path, ALLOWED)
  if (kind === '.jsonl' || kind === '.json')
    return join(path, jsonLinesDocuments(path, await readUtf8(path, ALLOWED)), reading)
  if (kind === '.parquet') return join(path, parquetDocuments(path), reading)
  throw new TextError(`${path}: unknown kind of text file; allowed are ${ALLOWED}`)
}

async function join(path: string, documents: Iterable<string> | AsyncIterable<string>, reading: Reading) {
  const { documents: most = Infinity, characters = Infinity, separator = SEPARATOR } = reading
  const taken: string[] = []
  let length = 0
  for await (const text of documents) {
    taken.push(text)
    length += text.length
    if (length > MAX_TEXT_BYTES) throw tooLarge(path, length) // noticed before the whole file is read
    if (taken.length >= most || length >= characters) break
    length += separator.length
  }
  return taken.join(separator)
}

function* jsonLinesDocuments(path: string, lines: string): Generator<string> {
  for (const { where, value } of jsonLines(path, lines)) {
    const text = (value as Record<string, unknown> | null)?.[FIELD]
    if (typeof text !== 'string')
      throw new TextError(`${where}: not an object with a string "${FIELD}"; rename the field that holds the text`)
    yield text
  }
}

async function* parquetDocuments(path: string): AsyncGenerator<string> {
  for await (const row of parquetRows(path, ALLOWED, (columns, strings) => textColumn(path, columns, strings))) {
    const [[column, text]] = Object.entries(row)
    if (text === null || text === undefined) continue
    if (typeof text !== 'string')
      throw new TextError(`${path}: column "${column}" holds ${typeof text} values; it must hold strings`)
    yield text
  }
}

/** `text`, or else the only column of strings. */
function textColumn(path: string, columns: readonly string[], strings: readonly string[]): string {
  if (columns.includes(FIELD)) return FIELD
  if (strings.length === 1) return strings[0]
  throw new TextError(
    `${path}: no column "${FIELD}", only ${columns.join(', ')}; rename the column that holds the text. ` +
      'Chats must be written as text first',
  )
}
