// Result files and reports on disk. The kind of a report is the ending of its name; what draws is loaded when needed.
import { stat } from 'node:fs/promises'
import { extname } from 'node:path'
import { FormatError, notOneOf, UsageError } from '../base/errors.ts'
import { readSmallFile } from '../formats/file.node.ts'
import { OPTIONS } from '../options/spec.ts'
import { checkTextFile, writeTextFile } from '../output/text-file.node.ts'
import type { ChartName } from './charts.ts'
import { GIVE, parseResult } from './parse-result.ts'
import { type ResultFile, serializeResult } from './result-file.ts'
import { resultMarkdown } from './tables.ts'

export interface ReportOptions {
  /** For an `.svg`: which chart, as `--chart` takes it. @default 'perplexity' */
  readonly chart?: string
  /** Replace a file that fasp wrote. @default false */
  readonly overwrite?: boolean
}

const WRITERS: Readonly<Record<string, (result: ResultFile, chart: ChartName) => Promise<string> | string>> = {
  '.html': async result => (await import('./html.ts')).reportHtml(result),
  '.svg': async (result, chart) => (await import('./charts.ts')).chartFile(result, chart),
  '.md': resultMarkdown,
  '.json': serializeResult,
}

export { checkTextFile, writeTextFile }

/** More than any result has; a string in Node holds 512 MiB. */
const MAX_BYTES = 256 * 2 ** 20

/** @throws FormatError where it cannot be read, is no result file, or not one of this version */
export async function readResult(path: string): Promise<ResultFile> {
  if ((await stat(path).catch(() => undefined))?.isDirectory())
    throw new FormatError(path, `is a folder, and no result. ${GIVE}`)
  const text = new TextDecoder().decode(await readSmallFile(path, MAX_BYTES))
  return parseResult(text, path)
}

/**
 * Before the long part: whether `writeReport` may write there.
 * @throws UsageError for a name that does not say what to write, or an unknown chart
 * @throws OutputError where the file exists and may not be replaced, or its folder cannot be written to
 */
export async function checkReport(path: string, { chart, overwrite }: ReportOptions = {}): Promise<void> {
  const kind = extname(path).toLowerCase()
  if (!Object.hasOwn(WRITERS, kind))
    throw new UsageError(`${path} does not say what to write; its name must end in ${Object.keys(WRITERS).join(', ')}.`)
  if (chart !== undefined && kind !== '.svg')
    throw new UsageError(`chart is for pictures, and ${path} is none. Give a name that ends in .svg, or leave it out.`)
  const names: readonly string[] = OPTIONS.chart.choices
  if (chart !== undefined && !names.includes(chart)) throw notOneOf('chart', chart, names)
  await checkTextFile(path, overwrite)
}

/**
 * Writes a result as `.html`, `.md`, `.svg` or `.json`, complete or not at all.
 * @throws as `checkReport`; UsageError where the result has nothing for the chart
 */
export async function writeReport(path: string, result: ResultFile, options: ReportOptions = {}): Promise<void> {
  await checkReport(path, options)
  const text = await WRITERS[extname(path).toLowerCase()](result, (options.chart ?? 'perplexity') as ChartName)
  await writeTextFile(path, text, options.overwrite)
}
