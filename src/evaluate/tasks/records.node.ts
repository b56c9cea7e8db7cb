// Task files → items: records with the fields of the Hub's data sets, as .jsonl (an object a line) or .parquet, each also as .gz.
import { existsSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { FormatError, UsageError } from '../../base/errors.ts'
import { fileKind, jsonLines, parquetRows, readUtf8 } from '../../text/rows.node.ts'
import { TASKS, type TaskName } from './definitions.ts'
import type { Task } from './evaluate.ts'
import { type Fields, text } from './item.ts'
import { WIKITEXT } from './wikitext.ts'

const ENDINGS = ['.jsonl', '.parquet'].flatMap(ending => [ending, `${ending}.gz`])
const ALLOWED = '.jsonl or .parquet, each also as .gz'

/** The file of a task's items in one of some folders. @throws UsageError where a folder or the file is missing */
export async function findTaskFile(name: string, folders: readonly string[]): Promise<string> {
  for (const folder of folders)
    if (!(await stat(folder).catch(() => undefined))?.isDirectory())
      throw new UsageError(`tasks-data ${folder}: there is no such folder.`)
  const found = folders.flatMap(folder => ENDINGS.map(ending => join(folder, name + ending))).find(existsSync)
  if (found) return found
  throw new UsageError(`there are no items of ${name} in ${folders.join(', ')}. Wanted is ${name} as ${ALLOWED}.`)
}

/** Reads the items of a task. @throws FormatError, TextError for files that are cut short, malformed or empty */
export async function readTask(name: TaskName, paths: readonly string[]): Promise<Task> {
  const items = await readRecords(name, paths, TASKS[name].item)
  if (items.length === 0) throw new FormatError(paths.join(', '), `there are no items of ${name} in it.`)
  return { name, items }
}

/** Reads the documents of the task wikitext. */
export async function readPages(paths: readonly string[]): Promise<string[]> {
  const pages = await readRecords('wikitext', paths, fields => text(fields, WIKITEXT.field))
  if (pages.join('').trim() === '') throw new FormatError(paths.join(', '), 'there is no document of wikitext in it.')
  return pages
}

async function readRecords<T>(name: string, paths: readonly string[], item: (fields: Fields) => T): Promise<T[]> {
  const items: T[] = []
  const push = (where: string, value: unknown) => {
    if (typeof value !== 'object' || value === null) throw new FormatError(where, 'not an object; an item is one.')
    try {
      items.push(item(value as Fields))
    } catch (cause) {
      throw new FormatError(where, `not an item of ${name}: ${(cause as Error).message}.`, { cause })
    }
  }
  for (const path of paths)
    if (fileKind(path) === '.parquet') {
      let row = 0
      for await (const value of parquetRows(path, ALLOWED)) push(`${path}: row ${row++}`, value)
    } else for (const { where, value } of jsonLines(path, await readUtf8(path, ALLOWED))) push(where, value)
  return items
}
