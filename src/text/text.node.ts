// Calibration and evaluation, before the tokenizer: a file → one string.
// Documents of a .jsonl or .parquet file are joined with a blank line, as the GPTQ protocol joins the rows of WikiText-2 (arXiv 2210.17323).
import { TextError } from '../errors.ts'
import { fileKind, jsonLines, MAX_TEXT_BYTES, parquetRows, readUtf8, tooLarge } from './rows.node.ts'

/** Column or field that holds the text, as in the datasets of the Hugging Face Hub. */
const FIELD = 'text'
/** Between two documents. */
const SEPARATOR = '\n\n'
const ALLOWED =
  '.txt (UTF-8), .jsonl or .json (an object with "text" on each line) or .parquet (column "text"), each also as .gz'

/**
 * The text of a file, a UTF-8 byte order mark dropped, line ends as they are.
 * @throws TextError for a missing file, a folder, an unknown or malformed form, a text too large, no text at all
 */
export async function readText(path: string): Promise<string> {
  const text = await read(path, fileKind(path))
  if (text.trim() === '') throw new TextError(`${path}: no text in it; give a file with at least one window of text`)
  return text
}

/** Reads texts that are wanted later, so that one that cannot be read is known before a long part. @throws as `readText` */
export async function checkTexts(paths: readonly string[] = []): Promise<void> {
  for (const path of paths) await readText(path)
}

async function read(path: string, kind: string): Promise<string> {
  if (kind === '.txt') return readUtf8(path, ALLOWED)
  if (kind === '.jsonl' || kind === '.json') return jsonLinesText(path, await readUtf8(path, ALLOWED))
  if (kind === '.parquet') return parquetText(path)
  throw new TextError(`${path}: unknown kind of text file; allowed are ${ALLOWED}`)
}

function jsonLinesText(path: string, lines: string): string {
  const documents: string[] = []
  for (const { where, value } of jsonLines(path, lines)) {
    const text = (value as Record<string, unknown> | null)?.[FIELD]
    if (typeof text !== 'string')
      throw new TextError(`${where}: not an object with a string "${FIELD}"; rename the field that holds the text`)
    documents.push(text)
  }
  return documents.join(SEPARATOR)
}

async function parquetText(path: string): Promise<string> {
  const documents: string[] = []
  let length = 0
  const needed = { column: FIELD, advice: 'rename the column that holds the text' }
  for await (const { [FIELD]: text } of parquetRows(path, ALLOWED, needed)) {
    if (text === null || text === undefined) continue
    if (typeof text !== 'string')
      throw new TextError(`${path}: column "${FIELD}" holds ${typeof text} values; it must hold strings`)
    length += text.length + SEPARATOR.length
    if (length > MAX_TEXT_BYTES) throw tooLarge(path, length) // noticed before the whole file is read
    documents.push(text)
  }
  return documents.join(SEPARATOR)
}
