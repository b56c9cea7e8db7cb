// Task files → items. Records come as .jsonl or .json (an object a line), .parquet, or the six lines an item of llama.cpp's HellaSwag
// file (.txt: question, label, four endings), each also as .gz or, where it is text, .bz2; labels also from a file `<name>-labels.lst`.
import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { decodeUtf8, fileKind, jsonLines, MAX_TEXT_BYTES, parquetRows, readUtf8 } from '../../calibrate/rows.node.ts'
import { FormatError, TextError, UsageError } from '../../errors.ts'
import { readSmallFile } from '../../formats/file.node.ts'
import { TASKS, type TaskName } from './definitions.ts'
import type { Task } from './evaluate.ts'
import { type Fields, type TaskItem, text } from './item.ts'
import { splitPages, WIKITEXT } from './wikitext.ts'

const ENDINGS = ['.jsonl', '.json', '.parquet', '.txt', '.raw'].flatMap(ending =>
  ['', '.gz', '.bz2'].map(zip => ending + zip),
)
const ALLOWED = '.jsonl, .json, .parquet or .txt, each also as .gz or .bz2'
/** HellaSwag as llama.cpp's perplexity tool reads it: question, label, four endings. */
const LINES_AN_ITEM = 6

interface TaskRecord {
  /** File and line, for messages. */
  readonly where: string
  readonly fields: Fields
}

/**
 * The file of a task's items below one of some folders.
 * @param files where it may be, without ending @throws UsageError where a folder or the file is missing
 */
export async function findTaskFile(
  name: string,
  files: readonly string[],
  folders: readonly string[],
): Promise<string> {
  for (const folder of folders)
    if (!(await stat(folder).catch(() => undefined))?.isDirectory())
      throw new UsageError(`tasks-data ${folder}: there is no such folder.`)
  const names = [name, ...files]
  for (const folder of folders)
    for (const file of names)
      for (const ending of ENDINGS) if (existsSync(join(folder, file + ending))) return join(folder, file + ending)
  throw new UsageError(
    `there are no items of ${name} in ${folders.join(', ')}. Wanted is ${names.join(' or ')}, as ${ALLOWED}.`,
  )
}

/** Reads the items of a task. @throws FormatError, TextError for files that are cut short, malformed or empty */
export async function readTask(name: TaskName, paths: readonly string[]): Promise<Task> {
  const items: TaskItem[] = []
  for (const path of paths)
    for (const record of await readRecords(path)) items.push(parse(name, record, TASKS[name].item))
  if (items.length === 0) throw new FormatError(paths.join(', '), `there are no items of ${name} in it.`)
  return { name, items }
}

/** Reads the documents of the task wikitext: WikiText's own file (.raw, .txt), or records with a field `page`. */
export async function readPages(paths: readonly string[]): Promise<string[]> {
  const pages: string[] = []
  for (const path of paths)
    if (['.raw', '.txt'].includes(fileKind(path))) pages.push(...splitPages(await readUtf8(path, ALLOWED)))
    else
      for (const record of await readRecords(path))
        pages.push(parse('wikitext', record, fields => text(fields, WIKITEXT.field)))
  if (pages.join('').trim() === '') throw new FormatError(paths.join(', '), 'there is no document of wikitext in it.')
  return pages
}

function parse<T>(name: string, { where, fields }: TaskRecord, read: (fields: Fields) => T): T {
  try {
    return read(fields)
  } catch (cause) {
    throw new FormatError(where, `not an item of ${name}: ${(cause as Error).message}.`, { cause })
  }
}

async function readRecords(path: string): Promise<TaskRecord[]> {
  const records: TaskRecord[] = []
  const kind = fileKind(path.replace(/\.bz2$/, ''))
  const push = (where: string, value: unknown) => {
    if (typeof value !== 'object' || value === null) throw new FormatError(where, 'not an object; an item is one.')
    records.push({ where, fields: value as Fields })
  }
  if (kind === '.parquet')
    for await (const row of parquetRows(path, ALLOWED)) push(`${path}: row ${records.length}`, row)
  else {
    const contents = path.endsWith('.bz2') ? await readBzip2(path) : await readUtf8(path, ALLOWED)
    const lines = kind === '.txt' ? sixLines(path, contents) : jsonLines(path, contents)
    for (const { where, value } of lines) push(where, value)
  }
  return withLabels(path, records)
}

async function readBzip2(path: string): Promise<string> {
  const { default: bzip2 } = await import('seek-bzip')
  const packed = await readSmallFile(path, MAX_TEXT_BYTES)
  let bytes: Uint8Array
  try {
    bytes = bzip2.decode(packed)
  } catch (cause) {
    throw new TextError(`${path}: not a whole bzip2 file (${(cause as Error).message}); fetch it again`, { cause })
  }
  return decodeUtf8(path, bytes)
}

/** This file has one context, where the data set has two: the beginning of the last sentence (`ctx_b`) starts in lower case. */
function* sixLines(path: string, contents: string): Generator<{ where: string; value: Fields }> {
  const lines = contents.trimEnd().split(/\r?\n/)
  if (contents.trim() === '') return
  if (lines.length % LINES_AN_ITEM !== 0)
    throw new FormatError(path, `has ${lines.length} lines, which is no multiple of the ${LINES_AN_ITEM} of an item.`)
  for (let at = 0; at < lines.length; at += LINES_AN_ITEM) {
    const [line, label, ...endings] = lines.slice(at, at + LINES_AN_ITEM)
    const where = `${path}: line ${at + 1}`
    const [, activity_label, context] = /^(.*?): (.*)$/.exec(line) ?? []
    if (context === undefined) throw new FormatError(where, 'no question "activity: text".')
    const [, ctx_a, ctx_b] = /^(.*[.!?"']) ([a-z][^.]*)$/.exec(context) ?? ['', context, '']
    yield { where, value: { activity_label, ctx_a, ctx_b, endings, label } }
  }
}

/** PIQA and WinoGrande are published with their labels in a file of their own, a line an item. */
async function withLabels(path: string, records: TaskRecord[]): Promise<TaskRecord[]> {
  const file = path.replace(/\.\w+$/, '-labels.lst')
  if (records.some(({ fields }) => 'label' in fields || 'answer' in fields) || !existsSync(file)) return records
  const labels = (await readUtf8(file, ALLOWED)).trim().split(/\r?\n/)
  if (labels.length !== records.length)
    throw new FormatError(file, `has ${labels.length} labels for the ${records.length} items of ${path}.`)
  return records.map(({ where, fields }, i) => ({ where, fields: { ...fields, label: labels[i], answer: labels[i] } }))
}
