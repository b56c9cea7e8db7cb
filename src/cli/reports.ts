// `--report` and `--result` of the commands that measure: checked before the long part, written after it.
import { totalmem } from 'node:os'
import { bytes } from '../display.ts'
import { UsageError } from '../errors.ts'
import { type Continuation, continuationBytes } from '../evaluate/continuations.ts'
import { isJsonObject } from '../formats/json.ts'
import {
  checkReport,
  continuations,
  describeModel,
  type EngineOptions,
  type Model,
  type ModelFacts,
  modelFacts,
  openEngine,
  openModel,
  type ResultFile,
  runName,
  writeReport,
} from '../node.ts'
import type { Parsed } from './arguments.ts'
import { engineOptions } from './environment.ts'
import { showProgress } from './progress.ts'

export const REPORT_OPTIONS = {
  report: { type: 'text', value: 'file', help: 'write a report: .html, or .md, .svg' },
  result: { type: 'text', value: 'file', help: 'keep the result, .json for fasp report' },
  prompt: { type: 'text', many: true, value: 'text', help: 'what models go on with in the report; repeatable' },
} as const

type ReportOptions = Parsed<typeof REPORT_OPTIONS> & { readonly overwrite?: boolean }

export const wantsReport = ({ report, result }: ReportOptions): boolean => report !== undefined || result !== undefined

/** Before the long part. @throws UsageError, OutputError */
export async function checkReports(options: ReportOptions): Promise<void> {
  const { report, result, prompt, overwrite } = options
  if (prompt && !wantsReport(options))
    throw new UsageError('prompt is for a report, and none is asked for. Add --report <file>.html, or leave it out.')
  if (result !== undefined && !result.toLowerCase().endsWith('.json'))
    throw new UsageError(`result is "${result}"; its name must end in .json.`)
  for (const path of [report, result]) if (path !== undefined) await checkReport(path, { overwrite })
}

export async function writeReports({ report, result, overwrite }: ReportOptions, file: ResultFile): Promise<string[]> {
  const paths = [report, result].filter(path => path !== undefined)
  for (const path of paths) await writeReport(path, file, { overwrite })
  return paths
}

export interface Described {
  readonly model: ModelFacts
  /** `dense`, or how it was pruned, where its folder says so. */
  readonly name: string
  readonly sparsity: number
  readonly samples: readonly Continuation[]
}

/** What a report says of a model, open or at a path, and what that writes. A model that does not fit the memory writes nothing. */
export async function describeForReport(
  of: string | Model,
  options: ReportOptions & EngineOptions,
  signal: AbortSignal,
): Promise<Described> {
  await using opened = typeof of === 'string' ? await showProgress(openModel(of, { signal })) : undefined
  const model = typeof of === 'string' ? describeModel(opened!) : of
  const { name, recipe } = model.checkpoint
  const pruned =
    isJsonObject(recipe?.options) && typeof recipe.options.sparsity === 'number' ? recipe.options : undefined
  const facts = {
    model: modelFacts(name, model.architecture),
    name: pruned ? runName({ options: pruned }) : 'dense',
    sparsity: Number(pruned?.sparsity ?? 0),
  }
  const needed = continuationBytes(model)
  if (needed < totalmem() / 2) {
    await using engine = openEngine(engineOptions(options))
    return { ...facts, samples: await showProgress(continuations(model, engine, options.prompt, signal)) }
  }
  process.stderr.write(
    `The report has no texts of ${name}: it writes them with all of it in memory, ${bytes(needed)}.\n`,
  )
  return { ...facts, samples: [] }
}
