// fasp prune: options → library → tables.

import { wrap } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import { finish } from '../base/events.ts'
import { prefillSpeeds } from '../bench/prefill.ts'
import { prunedText } from '../checkpoint/pruning-record.ts'
import { roomNotice } from '../engine/facts.ts'
import { HEAL_DEFAULTS } from '../heal/healing.node.ts'
import {
  CommonSteps,
  describeMachine,
  type EngineOptions,
  type Group,
  type Model,
  openEngine,
  openModel,
  type PlanOptions,
  type PrunePathOptions,
  planPruneEvents,
  prepareEvents,
  pruneEvents,
  windowsWithinEvents,
} from '../node.ts'
import { TRAINS } from '../options/options.ts'
import { isWritten } from '../output/place.node.ts'
import { headline } from '../report/headline.ts'
import { curveText, healedWords } from '../report/healed.ts'
import { type PrunedRun, type Run, resultFile } from '../report/result-file.ts'
import { runsOf } from '../report/runs-of.ts'
import {
  askedText,
  exportsTable,
  layersText,
  lossTable,
  perplexityTable,
  planText,
  secondsLine,
  sizesTable,
  vocabularyTable,
} from '../report/terminal.ts'
import { chatTemplate } from '../text/chat.ts'
import { type Arguments, type Parsed, PERCENT, SECONDS } from './arguments.ts'
import { type Context, defineCommand } from './command.ts'
import { nextCommands } from './next-steps.ts'
import {
  engineOptions,
  exportRequest,
  groupOf,
  MPI_OPTIONS,
  modelArgument,
  OUTPUT_OPTIONS,
  PRUNING_OPTIONS,
  paint,
  peakMemory,
  RESUME_OPTIONS,
  terminalStyle,
} from './process.ts'
import { showProgress } from './progress.ts'
import { modelHere, onRanks } from './ranks.ts'
import { checkReports, describeForReport, REPORT_OPTIONS, wantsReport, writeReports } from './report-files.ts'
import { VOCABULARY_OPTIONS, vocabularyChoice } from './vocabulary.ts'

const { device, threads, memory, ...engineOnly } = PRUNING_OPTIONS

const BYTES = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 }
const COUNTS = { k: 1e3, M: 1e6, B: 1e9 }

const OPTIONS = {
  sparsity: {
    type: 'number',
    short: 's',
    list: true,
    units: PERCENT,
    help: 'part of the decoder linears to remove, 0 to 0.9; several: 0.2,0.3',
  },
  size: { type: 'number', units: BYTES, value: '85MB', help: 'or: of the .gguf, or the weights of the folder' },
  params: { type: 'number', units: COUNTS, value: '100M', rare: true, help: 'or: parameters of the whole model' },
  'max-loss': { type: 'number', value: 'nats', help: 'or: cost a token on held-out text; some trial runs' },
  output: { type: 'text', short: 'o', value: 'path', help: 'where the result goes: a folder, or a .gguf file' },
  recipe: {
    type: 'text',
    value: 'path',
    rare: true,
    help: 'do again what this fasp.json says, but for what is given here',
  },
  method: { type: 'text', value: 'name', help: 'stock (default), best, paper, …: see --help-all' },
  calibration: {
    type: 'text',
    many: true,
    value: 'file',
    help: 'file, wikitext2, c4, hf:org/name:split, self (default)',
  },
  to: { type: 'text', many: true, value: 'target', help: 'export as well: gguf, gguf:q8_0, onnx, …; repeatable' },
  text: { type: 'text', many: true, value: 'file', help: 'text for perplexity, before and after; repeatable' },
  heal: {
    type: 'integer',
    bare: String(HEAL_DEFAULTS.tokens),
    value: 'tokens',
    help: 'heal the result by gradients, on so many (default 65,536)',
  },
  train: {
    type: 'text',
    choices: TRAINS,
    rare: true,
    help: 'of --heal: all weights, of FFNs, or low-rank updates (default all; above 1 B lora)',
  },
  lr: {
    type: 'number',
    value: 'rate',
    rare: true,
    help: 'of --heal: largest rate (default 1e-4, lora 1e-3, or less if that harms)',
  },
  rank: { type: 'integer', rare: true, help: 'of --heal: of low-rank updates (default 16)' },
  top: { type: 'integer', rare: true, help: 'of --heal: likely tokens to go by, 0: all (default 1024)' },
  ...VOCABULARY_OPTIONS,
  'dry-run': { type: 'flag', help: 'show widths, sizes and memory; read no weights' },
  overwrite: { type: 'flag', help: 'replace what fasp wrote before' },
  ...RESUME_OPTIONS,
  'keep-statistics': { type: 'flag', rare: true, help: 'keep what a later export in a quantised type rounds with' },
  windows: { type: 'integer', help: 'to calibrate on (stock, best 65,536 tokens; else 32, self-written 64)' },
  budget: {
    type: 'number',
    units: SECONDS,
    value: '10m',
    rare: true,
    help: 'or: as many as pruning has time for, by trying two layers',
  },
  'seq-len': {
    type: 'integer',
    rare: true,
    help: 'tokens per window (default 1024; stock, best 512; self-written 256)',
  },
  dtype: { type: 'text', rare: true, value: 'type', help: 'f32, f16, bf16; .gguf: q8_0 … (default: as source)' },
  device,
  threads: { ...threads, rare: true },
  memory,
  report: REPORT_OPTIONS.report,
  ...OUTPUT_OPTIONS,
  'held-out': {
    type: 'integer',
    rare: true,
    help: 'windows a text to measure on (2; stock, best 2,048 tokens; paper 0)',
  },
  'text-windows': { type: 'integer', rare: true, help: 'measure on the first n windows of each text' },
  verbose: { type: 'flag', rare: true, help: 'show all layers, not the worst alone' },
  prompt: { ...REPORT_OPTIONS.prompt, rare: true },
  seed: { type: 'integer', rare: true, help: 'of self-written text, and of method random (default 0)' },
  ...engineOnly,
  ...MPI_OPTIONS,
} as const

export default defineCommand({
  usage: 'prune <folder | model.gguf | hub/id> -s <sparsity> -o <output> [options]',
  summary: 'Removes FFN neurons (and value channels), repairs what stays, writes the result.',
  options: OPTIONS,
  methods: true,
  examples: [
    'fasp prune my-model -s 0.2 -o smaller --calibration wiki.txt',
    'fasp prune my-model.gguf -s 0.2,0.3,0.5 -o smaller --method best',
    'fasp prune facebook/opt-125m -s 0.2 -o smaller',
    'fasp prune my-model.gguf --size 85MB -o smaller.gguf',
    'fasp prune my-model -s 0.3 -o healed --method best --heal 250000',
    'fasp prune other-model --recipe smaller/fasp.json -o other-smaller',
  ],
  async run(given, context) {
    const group = groupOf(given.options, context.signal)
    await onRanks(group, context.signal, () => pruneAll(given, context, group))
  },
})

async function pruneAll(
  { options, positionals }: Arguments<typeof OPTIONS>,
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
    ...{ sparsity, ...planOptions(options), windows, output: outputOf(sparsity), overwrite: options.overwrite, signal },
  })
  if (options.budget !== undefined) checkBudget(options, group)
  if (options['dry-run']) {
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
  if (options.budget !== undefined) {
    const on = { ...settingsOf(amounts[0]), seconds: options.budget, engine: engineOptions(options) }
    windows = (await showProgress(windowsWithinEvents(model, on))).windows
  }
  const several = amounts.length > 1
  const isThere = (output: string) => several && options.resume && !options.overwrite && isWritten(output)
  const left = await group.decide(() => amounts.filter(sparsity => !isThere(outputOf(sparsity)!)))
  for (const sparsity of amounts) if (!left.includes(sparsity)) done(`${outputOf(sparsity)} is there already.`)
  if (several && isRoot) for (const sparsity of left) await finish(planPruneEvents(model, settingsOf(sparsity))) // before hours of work
  await using common = left.length > 1 && group.size === 1 ? new CommonSteps() : undefined
  await using here = await modelHere(group, model, { read: options.read, signal })
  const shown: Shown[] = []
  for (const sparsity of left) {
    if (several) print(`${shown.length > 0 ? '\n' : ''}${outputOf(sparsity)}`)
    const settings = { ...settingsOf(sparsity), output: outputOf(sparsity)!, common, group }
    if (!isRoot) await finish(pruneEvents(here.path, { ...settings, ...runOptions(options) }))
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
function checkBudget(options: Parsed<typeof OPTIONS>, group: Group): void {
  if (options['dry-run'])
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
  options: Parsed<typeof OPTIONS>,
  { print, done, signal }: Pick<Context, 'print' | 'done' | 'signal'>,
): Promise<Shown> {
  const { output } = settings
  const engine = engineOptions(options)
  const reports = wantsReport(options)
  const describe = async (of: string | Model) => (reports ? await describeForReport(of, options, signal) : undefined)
  await using run = await showProgress(prepareEvents(model, { ...settings, ...runOptions(options) }))
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
  const layers = layersText(result, options.verbose, style)
  if (layers) print(`\n${dim(layers)}`)
  print(`\n${askedText(result.options, result)}\n${sizesTable(result.sizes)}`)
  if (result.vocabulary) print(`\n${vocabularyTable(result.vocabulary)}`)
  const losses = lossTable(result)
  if (losses) print(`\n${dim(losses)}`)
  if (result.healed) {
    print(`\n${wrap(healedWords(result.healed), style.columns)}`)
    print(`\n${curveText(result.healed, style)}`)
  }
  const { dense: of = [], pruned: by } = perplexities
  if (by) print(`\n${perplexityTable({ dense: of, [prunedText(result)]: by }, result.vocabulary)}`)
  if (exports.length > 0) print(`\n${exportsTable(exports)}`)
  print(`\n${dim(wrap(secondsLine(result.seconds, peakMemoryBytes), style.columns))}`)
  done(`Wrote ${[...new Set([output, ...exports.map(({ path }) => path)])].join(', ')}`)
  const calibratedOnIt = options.calibration?.some(name => /wiki/i.test(name))
  const readable = options.text?.[0] ?? (calibratedOnIt ? 'c4' : 'wikitext2') // another than it was calibrated on
  const chat = chatTemplate(run.model.checkpoint) !== undefined
  const next = nextCommands(model, output, readable, chat, !result.vocabulary)
  return { dense, pruned, facts: before?.model, next, result: { ...result, peakMemoryBytes } }
}

/** Of a run, but not of a plan. */
const runOptions = (options: Parsed<typeof OPTIONS>) => ({
  textWindows: options['text-windows'],
  keepStatistics: options['keep-statistics'],
  resume: options.resume,
  saveEvery: options['save-every'],
  engine: engineOptions(options),
})

async function speedsOf(dense: Model, output: string, options: EngineOptions, signal: AbortSignal): Promise<number[]> {
  await using pruned = await openModel(output)
  await using engine = openEngine(options)
  return await prefillSpeeds([dense, pruned], engine, signal)
}

/** Tokens alone, or with what is trained, and how. */
function healOption({ heal: tokens, train, lr, rank, top }: Parsed<typeof OPTIONS>): PlanOptions['heal'] {
  const others = Object.entries({ train, lr, rank, top }).filter(([, value]) => value !== undefined)
  if (tokens === undefined && others.length > 0)
    throw new UsageError(`--${others[0][0]} is of healing. Give --heal, too, or leave it out.`)
  return others.length > 0 ? { tokens, ...Object.fromEntries(others) } : tokens
}

function planOptions(options: Parsed<typeof OPTIONS>): PlanOptions {
  return {
    size: options.size,
    parameters: options.params,
    maxLoss: options['max-loss'],
    recipe: options.recipe,
    to: options.to?.map(exportRequest),
    calibration: options.calibration,
    heal: healOption(options),
    vocabulary: vocabularyChoice(options),
    text: options.text,
    seqLen: options['seq-len'],
    heldOut: options['held-out'],
    method: options.method,
    products: options.products,
    dtype: options.dtype?.toUpperCase(),
    seed: options.seed,
    memory: options.memory,
  }
}
