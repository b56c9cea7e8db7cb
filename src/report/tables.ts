// The tables of a result: for the terminal, for HTML and for Markdown.
import { total } from '../base/clock.ts'
import { bytes, count, cut, duration, percent, perplexityChange } from '../base/display.ts'
import type { Measures } from '../evaluate/measure.ts'
import type { Continuation, Estimate, TaskResult } from '../result/measured.ts'
import type { PruneResult } from '../result/result.ts'
import type { ExportResult } from '../write/export-result.ts'
import { decimal, labels, NONE, runLabel, type TextSize, textLabel, unhealedLabel, withError } from './labels.ts'
import { madeLines } from './made.ts'
import { healingOf, isDense, type ResultFile, type Run } from './result-file.ts'
import { type Column, columnsOf, filled, runTable, type Table, tableMarkdown } from './table.ts'

type Runs = Pick<ResultFile, 'runs'>

/** All tables of a result that have something in them. */
export const resultTables = (result: ResultFile): Table[] =>
  filled([
    ...measureTables(result),
    sizesTable(result),
    exportsTable(result),
    ...healingTables(result),
    lossTable(result),
    secondsTable(result),
    failuresTable(result),
  ])

/** What made a result, and all its tables, as Markdown. */
export function resultMarkdown(result: ResultFile): string {
  const made = madeLines(result).map(text => `${text}.`)
  const parts = [`${result.model.name}. ${made.join(' ')}`, ...resultTables(result).map(tableMarkdown)]
  return `<!-- fasp ${result.fasp} -->\n${parts.join('\n\n')}\n`
}

/** What `fasp compare` shows. */
export const comparisonTables = (result: ResultFile): Table[] =>
  filled([...measureTables(result), sizesTable(result), failuresTable(result)])

/** What models were measured to be. */
export const measureTables = (result: Runs): Table[] =>
  filled([...textTables(result), wordsTable(result), ...tasksTables(result)])

/** A model that was measured, and the dense one before it, as runs. */
export const measuredRuns = ({ dense, ...measures }: Measures, name: string): Run[] => {
  const alone = { sparsity: 0, tasks: [], samples: [], seconds: {} }
  const before = dense ? [{ ...alone, name: 'dense', perplexity: dense }] : []
  return [...before, { ...alone, name, ...measures }]
}

/** For each text, all that was measured on it: a row for each run, the least cut first. */
export function textTables({ runs }: Runs): Table[] {
  const bySize = runs.toSorted((a, b) => a.sparsity - b.sparsity)
  return labels(runs, run => run.perplexity, textLabel).map(label => {
    const is = (run: Run) => (one: TextSize) => textLabel(one, run) === label
    const text = (run: Run) => run.perplexity.find(is(run))
    const divergence = (run: Run) => run.divergence?.find(is(run))
    const found = bySize.filter(text)
    const dense = found.find(isDense)
    const change = (run: Run) => {
      const [before, after] = [dense && text(dense), text(run)]
      if (!before || !after || run === dense || run.prune?.vocabulary) return undefined // bits per byte compare vocabularies
      return perplexityChange(Math.log(after.perplexity / before.perplexity))
    }
    const columns: Column[] = [
      ['perplexity', run => show(text(run), one => withError(one.perplexity, one.standardError))],
      ['than dense', change],
      ['bits per byte', run => show(text(run)?.bitsPerByte, bits => decimal(bits, 4))],
      ['KL', run => show(divergence(run), ({ kl }) => decimal(kl, 4))],
      ['same token', run => show(divergence(run), ({ topAgreement }) => percent(topAgreement))],
    ]
    const notes = [
      `Perplexity ± standard error, ${text(found[0])!.bos ? 'a BOS token before the text' : 'no BOS token'}.`,
      ...(found.some(divergence)
        ? ['KL(dense ‖ pruned) in nats a token, and how often both find the same token most likely.']
        : []),
      ...(found.some(run => text(run)?.calibratedOn)
        ? ['Calibrated on a text of the same corpus, which flatters these figures.']
        : []),
    ]
    return runTable({ title: `Perplexity: ${label}`, note: notes.join(' ') }, found, columns)
  })
}

const show = <T>(value: T | undefined, text: (value: T) => string): string | undefined =>
  value === undefined ? undefined : text(value)

export function wordsTable({ runs }: Runs): Table {
  const measured = runs.flatMap(run => run.wordPerplexity ?? [])
  const sizes = new Set(measured.map(({ documents, seqLen }) => `${documents} documents, windows of ${seqLen}`))
  const note = `The task wikitext of lm-evaluation-harness: ${[...sizes].join(' or ')}, each token predicted once.`
  return runTable({ title: 'WikiText a word', note }, runs, [
    ['word perplexity', run => show(run.wordPerplexity, one => decimal(one.wordPerplexity))],
    ['byte perplexity', run => show(run.wordPerplexity, one => decimal(one.bytePerplexity, 4))],
    ['bits per byte', run => show(run.wordPerplexity, one => decimal(one.bitsPerByte, 4))],
  ])
}

/** Mean over the tasks of normalised accuracy, where the harness has it, or accuracy. */
export function meanAccuracy({ tasks }: Pick<Run, 'tasks'>): number | undefined {
  const values = tasks.map(({ accuracy, accuracyNorm = accuracy }) => accuracyNorm.value)
  return values.length > 0 ? values.reduce((sum, value) => sum + value, 0) / values.length : undefined
}

export function tasksTables({ runs }: Runs): Table[] {
  const items = new Set(runs.flatMap(run => run.tasks.map(task => task.items)))
  const label = (task: TaskResult) => (items.size === 1 ? task.task : `${task.task}, ${task.items}`)
  const cell = ({ value, standardError }: Estimate) => withError(100 * value, 100 * standardError, 1)
  const normed = (run: Run) => run.tasks.filter(task => task.accuracyNorm)
  const note = `Percent ± standard error; ${items.size === 1 ? `${[...items]} items a task` : 'task, items'}.`
  const mean = 'Mean: of normalised accuracies where there are any, of accuracies elsewhere.'
  return [
    runTable({ title: 'Zero-shot accuracy', note: `${note} ${mean}` }, runs, [
      ...columnsOf(
        runs,
        run => run.tasks,
        label,
        task => cell(task.accuracy),
      ),
      ['mean', run => show(meanAccuracy(run), value => decimal(100 * value, 1))],
    ]),
    runTable(
      {
        title: 'Zero-shot accuracy, normalised',
        note: `${note} Log-likelihoods divided by the characters of each choice.`,
      },
      runs,
      columnsOf(runs, normed, label, task => cell(task.accuracyNorm!)),
    ),
  ]
}

/** The part of the decoder linears that is gone, or that was to go, where that is all that is known. */
export function removedPart({ prune, sparsity }: Run): number {
  if (!prune) return sparsity
  const { before, after } = prune.sizes.decoderLinears
  return 1 - after / before
}

export function sizesTable({ model, runs }: ResultFile): Table {
  const pruned = runs.find(run => run.prune)?.prune
  const healed = runs.some(run => run.healed !== undefined) ? 'and healing ' : ''
  const isWhole = (run: Run) => !run.prune && !run.failed
  const parameters = (run: Run) =>
    isWhole(run) ? (run.parameters ?? model.parameters) : run.prune?.sizes.parameters.effective
  const weightBytes = (run: Run) =>
    isWhole(run) ? pruned?.sizes.weightBytes.before : run.prune?.sizes.weightBytes.after
  return runTable(
    {
      title: 'Size, time and memory',
      note:
        'Cut: part of the decoder linears that is gone. ' +
        `Time: of pruning ${healed}alone. Memory: the peak of the process.`,
    },
    runs,
    [
      ['cut', run => show(run.prune, ({ sizes }) => cut(sizes.decoderLinears))],
      ['parameters', run => show(parameters(run), count)],
      ['on disk', run => show(weightBytes(run), bytes)],
      ['time', run => show(run.prune, ({ seconds }) => duration(total(seconds)))],
      ['memory', run => show(run.peakMemoryBytes, bytes)],
    ],
  )
}

/** What healing gained, and the KL after its steps. */
export function healingTables({ runs }: Runs): Table[] {
  const healed = runs.filter(healingOf)
  const curve = (run: Run) => healingOf(run)!.curve
  const steps = [...new Set(healed.flatMap(run => curve(run).map(({ step }) => step)))].sort((a, b) => a - b)
  const klAt = (run: Run, step: number) => curve(run).find(point => point.step === step)?.kl ?? Number.NaN
  const note = 'KL(dense ‖ model) in nats a token on held-out windows.'
  return [
    runTable({ title: 'Healing', note: `${note} The step that is kept, of all.` }, healed, [
      ['step', run => show(healingOf(run), ({ step, steps }) => `${step} of ${steps}`)],
      ['KL before', run => show(healingOf(run), ({ kl }) => decimal(kl.before, 4))],
      ['KL after', run => show(healingOf(run), ({ kl }) => decimal(kl.after, 4))],
    ]),
    {
      title: 'KL after steps of healing',
      note,
      rows: [
        ['step', ...healed.map(runLabel)],
        ...steps.map(step => [`${step}`, ...healed.map(run => decimal(klAt(run, step), 4))]),
      ],
    },
  ]
}

/** What pruning cost on windows of calibration texts: on those used, and on others. */
export const lossesIn = (texts: PruneResult['calibration']['texts'], used = 'used') =>
  texts.flatMap(({ name, loss }) => {
    const both = loss
      ? [
          { label: used, loss: loss.calibratedOn },
          { label: 'held out', loss: loss.heldOut },
        ]
      : []
    return both.map(({ label, loss }) => ({ label: `${name}, ${label}`, loss }))
  })

/** What pruning cost on the calibration texts, before models were healed. */
export function lossTable({ runs }: Runs): Table {
  const before = runs.map(run => {
    const healed = run.healed ? ', before healing' : ''
    return { ...run, name: `${unhealedLabel(run)}${healed}`, sparsity: 0, healed: undefined }
  })
  const columns = columnsOf(
    before,
    run => lossesIn(run.prune?.calibration.texts ?? []),
    one => one.label,
    ({ loss }) => decimal(loss.pruned - loss.dense, 3),
  )
  const note =
    'Loss of the pruned less that of the dense model, in nats a token, on windows calibrated on and on others. ' +
    'The gap is overfitting.'
  return runTable({ title: 'Cost on the calibration texts', note }, before, columns)
}

type Seconds = Readonly<Record<string, number>>

/** A column for each part of the seconds. */
function partsTable(of: Pick<Table, 'title' | 'note'>, runs: readonly Run[], seconds: (run: Run) => Seconds): Table {
  const columns = columnsOf(
    runs,
    run => Object.entries(seconds(run)),
    ([part]) => part,
    ([, value]) => decimal(value, 1),
  )
  return runTable(of, runs, columns)
}

export const secondsTable = ({ runs }: Runs): Table =>
  partsTable({ title: 'Seconds by phase' }, runs, run => run.seconds)

const longestFirst = (seconds: Seconds = {}): Seconds =>
  Object.fromEntries(Object.entries(seconds).sort(([, a], [, b]) => b - a))

/** The seconds of pruning in the engine and outside. */
export const engineTables = ({ runs }: Runs): Table[] => [
  partsTable({ title: 'Seconds in the engine', note: 'By kind of graph, while pruning.' }, runs, run =>
    longestFirst(run.prune?.engineSeconds),
  ),
  partsTable(
    { title: 'Seconds outside the engine', note: 'By stage of pruning, while the engine ran nothing.' },
    runs,
    run => longestFirst(run.prune?.outsideSeconds),
  ),
]

/** What was written besides, with `prune --to`. */
export const exportRows = (exports: readonly ExportResult[]): string[][] => [
  ['export', 'folder', 'type', 'size'],
  ...exports.map(({ to, folder, dtype, bytes: n }) => [to, folder || '.', dtype.toLowerCase(), bytes(n)]),
]

export const exportsTable = ({ runs }: Runs): Table => ({
  title: 'Exports',
  rows: exportRows(runs.flatMap(run => run.exports ?? [])),
})

/** Runs of a comparison that have no measures. */
export const failuresTable = ({ runs }: Runs): Table =>
  runTable({ title: 'Failed' }, runs, [['why', run => run.failed]])

export const asked = ({ prompt, chat }: Continuation): string => (chat ? `user: ${prompt}` : prompt)

/** Models side by side, prompts down; where there are many models, the other way round. */
export function sampleTable({ runs }: Runs): Table {
  const of = {
    title: 'Greedy continuations',
    note: 'The prompt in grey. Marked: the first word that the dense model does not write.',
  }
  const writers = runs.filter(run => run.samples.length > 0)
  const text = (run: Run, prompt: string) => run.samples.find(sample => asked(sample) === prompt)?.text
  const columns = columnsOf(
    writers,
    run => run.samples,
    asked,
    sample => sample.text,
  )
  if (writers.length > 3) return runTable(of, writers, columns)
  const rows = columns.map(([prompt]) => [prompt, ...writers.map(run => text(run, prompt) ?? NONE)])
  return { ...of, rows: [['prompt', ...writers.map(runLabel)], ...rows] }
}
