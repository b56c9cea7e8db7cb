// A result as Markdown: what made it, and all its tables.
import { madeLines } from './made.ts'
import type { ResultFile } from './result-file.ts'
import { resultTables } from './tables.ts'

/** All tables as Markdown. */
export function resultMarkdown(result: ResultFile): string {
  const { model, fasp } = result
  const cell = (text: string) => text.replace(/[\\|]/g, '\\$&').replace(/\s+/g, ' ')
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
  const tables = resultTables(result).map(({ title, note, rows: [head, ...rows] }) =>
    [
      `**${title}.** ${note ?? ''}`.trim(),
      '',
      line(head),
      `|---${'|---:'.repeat(head.length - 1)}|`,
      ...rows.map(line),
    ].join('\n'),
  )
  const made = madeLines(result).map(text => `${text}.`)
  return `<!-- fasp ${fasp} -->\n${[`${model.name}. ${made.join(' ')}`, ...tables].join('\n\n')}\n`
}
