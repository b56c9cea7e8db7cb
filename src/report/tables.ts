// From a result to tables of strings: one set of them for the terminal, for HTML and for Markdown.

import { total } from '../clock.ts'
import { bytes, count, cut, duration, percent, shortNames } from '../display.ts'
import type { Continuation } from '../evaluate/continuations.ts'
import type { ExportResult } from '../export/result.ts'
import type { PerplexityResult } from '../result.ts'
import { type Estimate, isDense, type ResultFile, type Run, type TaskResult } from './result-file.ts'

export interface Table {
  readonly title: string
  /** What a reader must know to read it. */
  readonly note?: string
  /** The first is the head; the first cell of each names the row. */
  readonly rows: readonly (readonly string[])[]
}

/** What stands for a number that is not there, or is none. */
const NONE = '–'

/** `fasp 30 %`, `dense`. */
export const runLabel = ({ name, sparsity }: Run): string =>
  sparsity > 0 ? `${name} ${Number((100 * sparsity).toFixed(1))} %` : name

/** The part of the decoder linears that is gone, as it came out; as it was asked for, where that is not known. */
export function removedPart({ prune, sparsity }: Run): number {
  if (!prune) return sparsity
  const { before, after } = prune.sizes.decoderLinears
  return 1 - after / before
}

/** 23.27, 51,234. */
export function decimal(value: number, digits = 2): string {
  if (!Number.isFinite(value)) return NONE
  return value < 1e4 ? value.toFixed(digits) : Math.round(value).toLocaleString('en-US')
}

/** 23.27 ± 1.86; of one window or item there is no error to tell. */
export const withError = (value: number, error: number, digits = 2): string =>
  Number.isFinite(error) ? `${decimal(value, digits)} ± ${decimal(error, digits)}` : decimal(value, digits)

/** What a run's text is called: its base name, with folders where the run has another of that name. */
export function textName(file: string, { perplexity }: Pick<Run, 'perplexity'>): string {
  const files = perplexity.map(text => text.file)
  return shortNames([file, ...files])[0]
}

/** A text with its windows: what figures must share to be compared. */
export const textLabel = ({ file, windows, seqLen }: TextSize, run: Run): string =>
  `${textName(file, run)}, ${windows} × ${seqLen}`

type TextSize = Pick<PerplexityResult, 'file' | 'windows' | 'seqLen'>

/** Every label that some run has, in the order in which they come. */
export const labels = <T>(
  runs: readonly Run[],
  of: (run: Run) => readonly T[],
  label: (one: T, run: Run) => string,
): string[] => [...new Set(runs.flatMap(run => of(run).map(one => label(one, run))))]

/** A row for each run that has any, a column for each label. */
function perRun<T>(
  runs: readonly Run[],
  of: (run: Run) => readonly T[],
  label: (one: T, run: Run) => string,
  cell: (one: T) => string,
): string[][] {
  const columns = labels(runs, of, label)
  const rows = runs.map(run => {
    const found = new Map(of(run).map(one => [label(one, run), cell(one)]))
    return [runLabel(run), ...columns.map(column => found.get(column) ?? NONE)]
  })
  return [['model', ...columns], ...rows.filter(row => row.slice(1).some(text => text !== NONE))]
}

/** A row for each method, a column for each cut: what `perRun` has in one column. Undefined where that would leave most of it empty. */
function perCut(runs: readonly Run[], cell: (run: Run) => string | undefined): string[][] | undefined {
  const found = runs.flatMap(run => {
    const text = isDense(run) ? undefined : cell(run)
    return text === undefined ? [] : [{ name: run.name, sparsity: run.sparsity, text }]
  })
  const names = [...new Set(found.map(run => run.name))]
  const cuts = [...new Set(found.map(run => run.sparsity))].sort((a, b) => a - b)
  if (cuts.length < 2 || 2 * found.length < names.length * cuts.length) return undefined
  if (new Set(found.map(run => JSON.stringify([run.name, run.sparsity]))).size < found.length) return undefined
  const text = (name: string, sparsity: number) =>
    found.find(run => run.name === name && run.sparsity === sparsity)?.text
  return [
    ['method', ...cuts.map(part => `${Number((100 * part).toFixed(1))} %`)],
    ...names.map(name => [name, ...cuts.map(cut => text(name, cut) ?? NONE)]),
  ]
}

/** For each text a table of methods and cuts; one table of runs and texts where there are too few runs for that. */
function perText<T extends TextSize>(
  { title, note }: Omit<Table, 'rows'>,
  runs: readonly Run[],
  of: (run: Run) => readonly T[],
  cell: (one: T) => string,
): Table[] {
  const tables = labels(runs, of, textLabel).map(label => {
    const show = (run: Run) =>
      of(run)
        .filter(one => textLabel(one, run) === label)
        .map(cell)
        .at(0)
    const dense = runs
      .filter(isDense)
      .map(show)
      .find(text => text !== undefined)
    const rows = perCut(runs, show)
    return rows && { title: `${title}: ${label}`, note: dense ? `Dense: ${dense}. ${note}` : note, rows }
  })
  if (tables.some(table => table === undefined)) return [{ title, note, rows: perRun(runs, of, textLabel, cell) }]
  return tables.filter(table => table !== undefined)
}

/** All tables of a result that have something in them. */
export const resultTables = (result: ResultFile): Table[] =>
  [
    ...perplexityTables(result),
    ...bitsTables(result),
    wordsTable(result),
    ...divergenceTables(result),
    ...tasksTables(result),
    sizesTable(result),
    exportsTable(result),
    lossTable(result),
    secondsTable(result),
    failuresTable(result),
  ].filter(table => table.rows.length > 1)

export function sizesTable({ model, runs }: ResultFile): Table {
  const rows = runs.map(run => {
    const { prune, peakMemoryBytes, failed } = run
    const memory = peakMemoryBytes === undefined ? '' : bytes(peakMemoryBytes)
    if (!prune) return [runLabel(run), '', failed ? NONE : count(model.parameters), '', '', memory]
    const { decoderLinears, parameters, weightBytes } = prune.sizes
    const sizes = [cut(decoderLinears), count(parameters.effective), bytes(weightBytes.after)]
    return [runLabel(run), ...sizes, duration(total(prune.seconds)), memory]
  })
  return {
    title: 'Size, time and memory',
    note: 'Cut: part of the decoder linears that is gone. Time: of pruning alone. Memory: the peak of the process.',
    rows: [['model', 'cut', 'parameters', 'on disk', 'time', 'memory'], ...rows],
  }
}

export function perplexityTables({ runs }: ResultFile): Table[] {
  const texts = runs.flatMap(run => run.perplexity)
  const flattered = labels(
    runs,
    run => run.perplexity.filter(text => text.calibratedOn),
    ({ file }, run) => textName(file, run),
  )
  const bos = new Set(texts.map(text => text.bos))
  const notes = [
    'Perplexity ± standard error; windows × tokens.',
    ...(bos.size === 1 ? [bos.has(true) ? 'A BOS token before each text.' : 'No BOS token.'] : []),
    ...flattered.map(text => `Calibrated on the corpus of ${text}, which flatters its figures.`),
  ]
  const cell = ({ perplexity, standardError }: PerplexityResult) => withError(perplexity, standardError)
  return perText({ title: 'Perplexity', note: notes.join(' ') }, runs, run => run.perplexity, cell)
}

export const bitsTables = ({ runs }: ResultFile): Table[] =>
  perText(
    {
      title: 'Bits per byte',
      note: 'Loss in bits, times the tokens a byte of the text: comparable between tokenizers.',
    },
    runs,
    run => run.perplexity.filter(one => one.bitsPerByte !== undefined),
    ({ bitsPerByte }) => decimal(bitsPerByte!, 4),
  )

export const wordsTable = ({ runs }: ResultFile): Table => ({
  title: 'WikiText a word',
  note: 'The task wikitext of lm-evaluation-harness: whole documents, each token predicted once.',
  rows: [
    ['model', 'word perplexity', 'byte perplexity', 'bits per byte'],
    ...runs.flatMap(run => {
      const { wordPerplexity: one } = run
      return one
        ? [[runLabel(run), decimal(one.wordPerplexity), decimal(one.bytePerplexity, 4), decimal(one.bitsPerByte, 4)]]
        : []
    }),
  ],
})

export const divergenceTables = ({ runs }: ResultFile): Table[] =>
  perText(
    {
      title: 'Distance from the dense model',
      note: 'KL(dense ‖ pruned) in nats a token, and how often both find the same token most likely.',
    },
    runs,
    run => run.divergence ?? [],
    ({ kl, topAgreement }) => `${decimal(kl, 4)}, ${percent(topAgreement)}`,
  )

/** Mean over the tasks, where each has the figure. */
export function meanAccuracy({ tasks }: Pick<Run, 'tasks'>): number | undefined {
  return tasks.length > 0 ? tasks.reduce((sum, task) => sum + best(task).value, 0) / tasks.length : undefined
}

/** Normalised accuracy where the harness has it. */
const best = ({ accuracy, accuracyNorm }: TaskResult): Estimate => accuracyNorm ?? accuracy

export function tasksTables({ runs }: ResultFile): Table[] {
  const items = new Set(runs.flatMap(run => run.tasks.map(task => task.items)))
  const label = (task: TaskResult) => (items.size === 1 ? task.task : `${task.task}, ${task.items}`)
  const cell = ({ value, standardError }: Estimate) => withError(100 * value, 100 * standardError, 1)
  const accuracy = perRun(
    runs,
    run => run.tasks,
    label,
    task => cell(task.accuracy),
  )
  const means = new Map(runs.map(run => [runLabel(run), meanAccuracy(run)]))
  const mean = (name: string) => decimal(100 * (means.get(name) ?? Number.NaN), 1)
  const note = `Percent ± standard error; ${items.size === 1 ? `${[...items]} items a task` : 'task, items'}.`
  return [
    {
      title: 'Zero-shot accuracy',
      note: `${note} Mean: of normalised accuracies where there are any, of accuracies elsewhere.`,
      rows: accuracy.map((row, i) => [...row, i === 0 ? 'mean' : mean(row[0])]),
    },
    {
      title: 'Zero-shot accuracy, normalised',
      note: `${note} Log-likelihoods divided by the characters of each choice.`,
      rows: perRun(
        runs,
        run => run.tasks.filter(task => task.accuracyNorm),
        label,
        task => cell(task.accuracyNorm!),
      ),
    },
  ]
}

/** What pruning cost on the calibration texts: on windows calibrated on, and on others. */
export function lossTable({ runs }: Pick<ResultFile, 'runs'>): Table {
  const losses = (run: Run) =>
    (run.prune?.calibration.texts ?? []).flatMap(({ name, loss }) =>
      loss
        ? [
            { label: `${name}, used`, loss: loss.calibratedOn },
            { label: `${name}, held out`, loss: loss.heldOut },
          ]
        : [],
    )
  return {
    title: 'Cost on the calibration texts',
    note: 'Loss of the pruned less that of the dense model, in nats a token, on windows calibrated on and on others. The gap is overfitting.',
    rows: perRun(
      runs,
      losses,
      one => one.label,
      ({ loss }) => decimal(loss.pruned - loss.dense, 3),
    ),
  }
}

export function secondsTable({ runs }: ResultFile): Table {
  return {
    title: 'Seconds by phase',
    rows: perRun(
      runs,
      run => Object.entries(run.seconds),
      ([phase]) => phase,
      ([, seconds]) => decimal(seconds, 1),
    ),
  }
}

/** What was written besides, with `prune --to`. */
export const exportRows = (exports: readonly ExportResult[]): string[][] => [
  ['export', 'folder', 'type', 'size'],
  ...exports.map(({ to, folder, dtype, bytes: n }) => [to, folder || '.', dtype.toLowerCase(), bytes(n)]),
]

export const exportsTable = ({ runs }: ResultFile): Table => ({
  title: 'Exports',
  rows: exportRows(runs.flatMap(run => run.exports ?? [])),
})

/** Runs of a comparison that have no measures. */
export const failuresTable = ({ runs }: ResultFile): Table => ({
  title: 'Failed',
  rows: [['model', 'why'], ...runs.flatMap(run => (run.failed === undefined ? [] : [[runLabel(run), run.failed]]))],
})

/** Of the engine, by kind of graph. */
export const engineTable = (runs: readonly Run[]): Table => ({
  title: 'Seconds in the engine',
  note: 'By kind of graph, while pruning.',
  rows: partRows(runs, ({ prune }) => prune?.engineSeconds),
})

/** Outside the engine, by stage. */
export const outsideTable = (runs: readonly Run[]): Table => ({
  title: 'Seconds outside the engine',
  note: 'By stage of pruning, while the engine ran nothing.',
  rows: partRows(runs, ({ prune }) => prune?.outsideSeconds),
})

/** A column for each part, the longest first. */
const partRows = (runs: readonly Run[], of: (run: Run) => Readonly<Record<string, number>> | undefined) =>
  perRun(
    runs,
    run => Object.entries(of(run) ?? {}).sort(([, a], [, b]) => b - a),
    ([part]) => part,
    ([, seconds]) => decimal(seconds, 1),
  )

const asked = ({ prompt, chat }: Continuation): string => (chat ? `user: ${prompt}` : prompt)

/** Models side by side, prompts down; where there are many models, the other way round. */
export function sampleRows(runs: readonly Run[]): string[][] {
  const writers = runs.filter(run => run.samples.length > 0)
  const prompts = labels(writers, run => run.samples, asked)
  const text = (run: Run, prompt: string) => run.samples.find(sample => asked(sample) === prompt)?.text ?? NONE
  if (writers.length > 3)
    return [['model', ...prompts], ...writers.map(run => [runLabel(run), ...prompts.map(prompt => text(run, prompt))])]
  return [
    ['prompt', ...writers.map(runLabel)],
    ...prompts.map(prompt => [prompt, ...writers.map(run => text(run, prompt))]),
  ]
}
