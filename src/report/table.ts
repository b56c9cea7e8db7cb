// Tables as data, and as text for a terminal and as Markdown; html.ts has them as HTML.
import { table, wrap } from '../base/display.ts'
import { healedTokens } from '../checkpoint/pruning-record.ts'
import { labels, NONE, runLabel, unhealedLabel } from './labels.ts'
import type { Run } from './result-file.ts'

export interface Table {
  readonly title: string
  /** How to read it, with units. */
  readonly note?: string
  /** The first is the head; the first cells of each name the row. */
  readonly rows: readonly (readonly string[])[]
  /** How many cells name a row. @default 1 */
  readonly names?: number
}

/** Undefined where a run has nothing to show. */
export type Column = readonly [head: string, cell: (run: Run) => string | undefined]

/** A column for each label. */
export const columnsOf = <T>(
  runs: readonly Run[],
  of: (run: Run) => readonly T[],
  label: (one: T, run: Run) => string,
  show: (one: T) => string,
): Column[] =>
  labels(runs, of, label).map(head => [
    head,
    run => {
      const found = of(run).find(one => label(one, run) === head)
      return found && show(found)
    },
  ])

/** A row for each run and the columns, of both those that have a cell. What runs were healed on has a column of its own. */
export function runTable(
  of: Pick<Table, 'title' | 'note'>,
  all: readonly Run[],
  columns: readonly Column[],
): Required<Pick<Table, 'names'>> & Table {
  const shown = columns.filter(([, cell]) => all.some(run => cell(run) !== undefined))
  const runs = all.filter(run => shown.some(([, cell]) => cell(run) !== undefined))
  const heals = runs.some(({ healed }) => healed !== undefined)
  const nameOf = (run: Run) => (heals ? [unhealedLabel(run), healedTokens(run) ?? NONE] : [runLabel(run)])
  const names = heals ? ['model', 'healed'] : ['model']
  const rows = runs.map(run => [...nameOf(run), ...shown.map(([, cell]) => cell(run) ?? NONE)])
  return { ...of, rows: [[...names, ...shown.map(([head]) => head)], ...rows], names: names.length }
}

/** Tables with rows below the head. */
export const filled = (tables: readonly Table[]): Table[] => tables.filter(({ rows }) => rows.length > 1)

/** What the terminal can show. */
export interface TerminalStyle {
  readonly columns: number
  /** Block characters, and codes that make headings bold. */
  readonly blocks: boolean
  readonly bold: boolean
}

/** A file, a pipe. */
export const PLAIN: TerminalStyle = { columns: 80, blocks: false, bold: false }

export const heading = (text: string, { bold }: TerminalStyle): string => (bold ? `\x1b[1m${text}\x1b[22m` : text)

/** Tables below each other, each with its title and its note. */
export const tablesText = (tables: readonly Table[], style: TerminalStyle = PLAIN): string =>
  tables
    .map(({ title, rows, names, note }) => {
      const parts = [heading(title, style), fitted(rows, style.columns, names)]
      return [...parts, ...(note ? [wrap(note, style.columns)] : [])].join('\n')
    })
    .join('\n\n')

export function tableMarkdown({ title, note, rows: [head, ...rows] }: Table): string {
  const cell = (text: string) => text.replace(/[\\|]/g, '\\$&').replace(/\s+/g, ' ')
  const line = (cells: readonly string[]) => `| ${cells.map(cell).join(' | ')} |`
  const rule = `|---${'|---:'.repeat(head.length - 1)}|`
  return [`**${title}.** ${note ?? ''}`.trim(), '', line(head), rule, ...rows.map(line)].join('\n')
}

/**
 * A table, its columns in several parts below each other where they are too many for the line; texts that are too long
 * go on in rows below.
 * @param names columns that name a row, at the beginning of each part
 */
export function fitted(wide: Table['rows'], columns: number, names = 1): string {
  const widthsOf = (rows: typeof wide) => rows[0].map((_, c) => Math.max(...rows.map(row => row[c].length)))
  const named = widthsOf(wide)
    .slice(0, names)
    .reduce((sum, width) => sum + width + 2, 0)
  const rows = broken(wide, Math.max(20, columns - named), names)
  const parts: number[][] = []
  let used = Number.POSITIVE_INFINITY
  for (const [c, width] of widthsOf(rows).entries()) {
    if (c < names) continue
    used += 2 + width
    if (used > columns) {
      parts.push([])
      used = named + width
    }
    parts.at(-1)!.push(c)
  }
  return parts.map(part => table(rows.map(row => [...row.slice(0, names), ...part.map(c => row[c])]))).join('\n\n')
}

/** Columns that no line has `room` for, as text of several rows. */
function broken(rows: Table['rows'], room: number, names: number): Table['rows'] {
  const tooWide = rows[0].map((_, c) => c >= names && rows.some(row => row[c].length > room))
  return rows.flatMap(row => {
    const cells = row.map((cell, c) => (tooWide[c] ? wrap(cell, room).split('\n') : [cell]))
    const lines = Array.from({ length: Math.max(...cells.map(({ length }) => length)) }, (_, i) => i)
    return lines.map(i => cells.map((cell, c) => (cell[i] ?? '').padEnd(tooWide[c] ? room : 0)))
  })
}
