// fasp prune: options → library → tables.
import { wrap } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import { finish } from '../base/events.ts'
import {
  CommonSteps,
  chatTemplate,
  describeMachine,
  type EngineOptions,
  type Group,
  isWritten,
  type Model,
  openEngine,
  openModel,
  type PlanOptions,
  type PrunePathOptions,
  planPruneEvents,
  prefillSpeeds,
  prepareEvents,
  pruneEvents,
  windowsWithinEvents,
} from '../node.ts'
import { headline } from '../report/headline.ts'
import { roomNotice } from '../report/made.ts'
import { type PrunedRun, type Run, resultFile } from '../report/result-file.ts'
import { runsOf } from '../report/runs-of.ts'
import {
  askedText,
  curveText,
  exportsTable,
  healedWords,
  layersText,
  lossTable,
  measuresText,
  planText,
  secondsLine,
  sizesTable,
  vocabularyTable,
} from '../report/terminal.ts'
import { type Arguments, given, type Parsed } from './arguments.ts'
import { type Context, defineCommand } from './command.ts'
import { nextCommands } from './next-steps.ts'
import {
  engineOptions,
  exportRequest,
  groupOf,
  modelArgument,
  paint,
  peakMemory,
  terminalStyle,
  vocabularyChoice,
} from './process.ts'
import { showProgress } from './progress.ts'
import { modelHere, onRanks } from './ranks.ts'
import { checkReports, describeForReport, wantsReport, writeReports } from './report-files.ts'

export default defineCommand({
  verb: 'prune',
  usage: 'prune <folder | model.gguf | hub/id> -s <sparsity> -o <output> [options]',
  summary: 'Removes FFN neurons (and value channels), repairs what stays, writes the result.',
  methods: true,
  examples: [
    'fasp prune my-model -s 0.2 -o smaller --calibration wiki.txt',
    'fasp prune my-model.gguf -s 0.2,0.3,0.5 -o smaller --method best',
    'fasp prune facebook/opt-125m -s 0.2 -o smaller',
    'fasp prune my-model.gguf --size 85MB -o smaller.gguf',
    'fasp prune my-model -s 0.3 -o healed --method best --heal 250000',
    'fasp prune other-model --recipe smaller/fasp.json -o other-smaller',
  ],
  async run(args, context) {
    const group = groupOf(args.options, context.signal)
    await onRanks(group, context.signal, () => pruneAll(args, context, group))
  },
})

async function pruneAll(
  { options, positionals }: Arguments<'prune'>,
  { print, done, result: give, signal }: Context,
  group: Group,
): Promise<void> {
  const isRoot = group.rank === 0
  const model = modelArgument(positionals)
  if (options.size && options.size < 1000)
    throw new UsageError(`--size is ${options.size} bytes, which no model has. Give a unit: --size ${options.size}MB.`)
  const amounts = options.sparsity?.length ? options.sparsity : [undefined]
  const outputOf = (sparsity?: number) => (amounts.length > 1 ? pathOf(options.output, sparsity) : options.output)
  let { windows } = options
  const settingsOf = (sparsity?: number) => ({
    ...planOptions(options),
    sparsity,
    windows,
    output: outputOf(sparsity),
    signal,
  })
  if (options.seconds !== undefined) checkBudget(options, group)
  if (options.dryRun) {
    if (!isRoot) return
    const plans = []
    for (const sparsity of amounts) {
      const plan = await showProgress(planPruneEvents(model, settingsOf(sparsity)))
      done(askedText(plan.options, plan))
      print(planText(plan))
      plans.push({ ...plan, tensors: undefined, architecture: undefined })
    }
    const device = (options.device ?? 'cpu') !== 'cpu' && roomNotice(describeMachine(engineOptions(options)))
    if (device) print(`\n${device}`)
    give(plans.length > 1 ? plans : plans[0])
    return
  }
  if (!options.output) throw new UsageError('no output. Say where the pruned model goes: -o <folder>.')
  if (isRoot) await checkReports(options)
  if (new Set(amounts).size < amounts.length) throw new UsageError(`sparsity ${amounts.join(',')} has one twice.`)
  if (options.seconds !== undefined) {
    const on = { ...settingsOf(amounts[0]), seconds: options.seconds, engine: engineOptions(options) }
    windows = (await showProgress(windowsWithinEvents(model, on))).windows
  }
  const several = amounts.length > 1
  const isThere = (output: string) => several && options.resume && !options.overwrite && isWritten(output)
  const left = await group.decide(() => amounts.filter(sparsity => !isThere(outputOf(sparsity)!)))
  for (const sparsity of amounts) if (!left.includes(sparsity)) done(`${outputOf(sparsity)} is there already.`)
  // Before hours of work.
  if (several && isRoot) for (const sparsity of left) await finish(planPruneEvents(model, settingsOf(sparsity)))
  await using common = left.length > 1 && group.size === 1 ? new CommonSteps() : undefined
  await using here = await modelHere(group, model, { read: options.read, signal })
  const shown: Shown[] = []
  for (const sparsity of left) {
    if (several) print(`${shown.length > 0 ? '\n' : ''}${outputOf(sparsity)}`)
    const settings = { ...runOptions(options), ...settingsOf(sparsity), output: outputOf(sparsity)!, common, group }
    if (!isRoot) await finish(pruneEvents(here.path, settings))
    else shown.push(await pruneOne(model, settings, options, { print, done, signal }))
  }
  const [first] = shown
  if (first?.facts) {
    const machine = describeMachine(engineOptions(options), options.products)
    const runs = [first.dense, ...shown.map(({ pruned }) => pruned)]
    const file = resultFile({ command: 'prune', machine, model: first.facts, runs })
    for (const path of await writeReports(options, file)) done(`Wrote ${path}`)
  }
  if (first) print(`\n${shown.at(-1)!.next}`)
  const results = shown.map(({ result }) => result)
  give(several ? results : results[0])
}

/** What the library knows nothing of. @throws UsageError */
function checkBudget(options: Parsed<'prune'>, group: Group): void {
  if (options.dryRun)
    throw new UsageError('budget tries two layers, and dry-run reads no weights. Leave one of them out.')
  if (options.resume)
    throw new UsageError(
      'budget is of a run that begins. One goes on with as many windows as it began with: give them.',
    )
  if (group.size > 1) throw new UsageError('budget tries what one process takes, and there are several. Give windows.')
}

/** What a run has shown, for reports. */
interface Shown {
  readonly dense: Run
  readonly pruned: PrunedRun
  readonly facts?: NonNullable<Awaited<ReturnType<typeof describeForReport>>>['model']
  readonly next: string
  readonly result: object
}

/** `smaller-0.2`, `smaller-0.2.gguf` */
const pathOf = (output: string | undefined, sparsity?: number) =>
  output?.replace(/(\.gguf)?\/*$/i, (_, ending = '') => `-${sparsity}${ending}`)

async function pruneOne(
  model: string,
  settings: PrunePathOptions & { readonly output: string },
  options: Parsed<'prune'>,
  { print, done, signal }: Pick<Context, 'print' | 'done' | 'signal'>,
): Promise<Shown> {
  const { output } = settings
  const engine = engineOptions(options)
  const reports = wantsReport(options)
  const describe = async (of: string | Model) => (reports ? await describeForReport(of, options, signal) : undefined)
  await using run = await showProgress(prepareEvents(model, settings))
  const before = await describe(run.model)
  const told: string[] = []
  const result = await showProgress(run.pruneEvents(), told)
  const after = await describe(output)
  const peakMemoryBytes = peakMemory()
  const shown = reports || !(options.json || options.quiet)
  const speeds = shown ? await speedsOf(run.model, output, engine, signal) : []
  const { exports, perplexities, ...others } = result
  const { dense, pruned } = runsOf(others, {
    samples: { dense: before?.samples, pruned: after?.samples },
    exports: exports.length > 0 ? exports.map(({ path: _, ...one }) => one) : undefined,
    ...{ speeds, perplexities, told, peakMemoryBytes },
  })
  const style = terminalStyle(process.stdout)
  const dim = (text: string) => paint(process.stdout, 'dim', text)
  done(paint(process.stdout, 'bold', wrap(headline(dense, pruned), style.columns)))
  const layers = layersText(result, false, style)
  if (layers) print(`\n${dim(layers)}`)
  print(`\n${askedText(result.options, result)}\n${sizesTable(result.sizes)}`)
  if (result.vocabulary) print(`\n${vocabularyTable(result.vocabulary)}`)
  const losses = lossTable(result)
  if (losses) print(`\n${dim(losses)}`)
  if (result.healed) {
    print(`\n${wrap(healedWords(result.healed), style.columns)}`)
    print(`\n${curveText(result.healed, style)}`)
  }
  if (perplexities.pruned) print(`\n${measuresText([dense, pruned])}`)
  if (exports.length > 0) print(`\n${exportsTable(exports)}`)
  print(`\n${dim(wrap(secondsLine(result.seconds, peakMemoryBytes), style.columns))}`)
  done(`Wrote ${[...new Set([output, ...exports.map(({ path }) => path)])].join(', ')}`)
  const calibratedOnIt = options.calibration?.some(name => /wiki/i.test(name))
  const readable = options.text?.[0] ?? (calibratedOnIt ? 'c4' : 'wikitext2') // another than it was calibrated on
  const chat = chatTemplate(run.model.checkpoint) !== undefined
  const next = nextCommands(model, output, readable, chat, !result.vocabulary)
  return { dense, pruned, facts: before?.model, next, result: { ...result, peakMemoryBytes } }
}

async function speedsOf(dense: Model, output: string, options: EngineOptions, signal: AbortSignal): Promise<number[]> {
  await using pruned = await openModel(output)
  await using engine = openEngine(options)
  return await prefillSpeeds([dense, pruned], engine, signal)
}

/** What a plan goes by. */
const planOptions = (options: Parsed<'prune'>): PlanOptions => ({
  ...given('planPrune', options),
  sparsity: undefined,
  to: options.to?.map(exportRequest),
  heal: healOption(options),
  vocabulary: vocabularyChoice(options),
  dtype: options.dtype?.toUpperCase(),
})

/** What a run is given besides. */
const runOptions = ({ textWindows, keepStatistics, resume, saveEvery, ...options }: Parsed<'prune'>) => ({
  textWindows,
  keepStatistics,
  resume,
  saveEvery,
  engine: engineOptions(options),
})

function healOption({ heal: tokens, lr }: Parsed<'prune'>): PlanOptions['heal'] {
  if (tokens === undefined && lr !== undefined)
    throw new UsageError('--lr is of healing. Give --heal, too, or leave it out.')
  return lr === undefined ? tokens : { tokens, lr }
}
