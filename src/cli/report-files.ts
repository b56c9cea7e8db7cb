// `--report` of the commands that measure: checked before the long part, written after it.
import { totalmem } from 'node:os'
import { bytes } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import { isJsonObject } from '../base/json.ts'
import {
  continuationBytes,
  continuationsEvents,
  inspect,
  type Model,
  openEngine,
  openModelEvents,
  type ResultFile,
  writeReport,
} from '../node.ts'
import { checkReport } from '../report/report.node.ts'
import { type ModelFacts, modelFacts, type Run } from '../report/result-file.ts'
import { type EngineArguments, engineOptions } from './process.ts'
import { showProgress } from './progress.ts'

interface ReportOptions {
  readonly report?: readonly string[]
  readonly prompts?: readonly string[]
  readonly overwrite?: boolean
}

export const wantsReport = ({ report }: ReportOptions): boolean => report !== undefined

/** Before the long part. @throws UsageError, OutputError */
export async function checkReports(options: ReportOptions): Promise<void> {
  const { report = [], prompts, overwrite } = options
  if (prompts && !wantsReport(options))
    throw new UsageError('prompt is for a report, and none is asked for. Add --report <file>.html, or leave it out.')
  for (const path of report) await checkReport(path, { overwrite })
}

/** @returns what it wrote */
export async function writeReports(
  { report = [], overwrite }: ReportOptions,
  file: ResultFile,
): Promise<readonly string[]> {
  for (const path of report) await writeReport(path, file, { overwrite })
  return report
}

export interface Described {
  readonly model: ModelFacts
  /** `dense`, or how it was pruned, where its folder says so. */
  readonly name: string
  readonly sparsity: number
  /** Tokens that it was healed on. @default it was not */
  readonly healed?: number
  readonly parameters: number
  readonly samples: Run['samples']
}

/** What a report says of a model, open or at a path, and what it writes: nothing where it does not fit the memory. */
export async function describeForReport(
  of: string | Model,
  options: ReportOptions & EngineArguments,
  signal: AbortSignal,
): Promise<Described> {
  await using model = await showProgress(openModelEvents(of, { signal }))
  const { name, recipe } = model.checkpoint
  const { pruned, healed } = await inspect(model)
  const stored = modelFacts(name, model.architecture)
  const sizes = isJsonObject(recipe?.sizes) ? recipe.sizes.parameters : undefined
  const effective = isJsonObject(sizes) ? sizes.effective : undefined // without the zeros of a padded layout
  const facts = {
    ...{ model: stored, parameters: typeof effective === 'number' ? effective : stored.parameters },
    name: pruned?.method ?? 'dense',
    sparsity: pruned?.sparsity ?? 0,
    healed: healed?.tokens ?? pruned?.healed,
  }
  const needed = continuationBytes(model)
  if (needed < totalmem() / 2) {
    await using engine = openEngine(engineOptions(options))
    const { prompts } = options
    return { ...facts, samples: await showProgress(continuationsEvents(model, { engine, signal, prompts })) }
  }
  process.stderr.write(
    `The report has no texts of ${name}: it writes them with all of it in memory, ${bytes(needed)}.\n`,
  )
  return { ...facts, samples: [] }
}

/** The model beside a dense one, which may itself be called so where nothing says that it was pruned. */
export const notDense = (run: Run, model: string): Run => (run.name === 'dense' ? { ...run, name: model } : run)
