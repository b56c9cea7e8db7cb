// A result as Markdown: what made it, and all its tables.
import { madeLines } from './made.ts'
import type { ResultFile } from './result-file.ts'
import { tableMarkdown } from './table.ts'
import { resultTables } from './tables.ts'

export function resultMarkdown(result: ResultFile): string {
  const made = madeLines(result).map(text => `${text}.`)
  const parts = [`${result.model.name}. ${made.join(' ')}`, ...resultTables(result).map(tableMarkdown)]
  return `<!-- fasp ${result.fasp} -->\n${parts.join('\n\n')}\n`
}
