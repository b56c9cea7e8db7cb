// From a result to tables of strings: one set of them for the terminal, for HTML and for Markdown.

import { total } from '../base/clock.ts'
import { bytes, count, cut, duration, percent, perplexityChange, shortNames } from '../base/display.ts'
import { healedText, healedTokens } from '../checkpoint/pruning-record.ts'
import type { Continuation } from '../evaluate/continuations.ts'
import type { PerplexityResult } from '../result/result.ts'
import type { ExportResult } from '../write/export-result.ts'
import { type Estimate, healingOf, isDense, type ResultFile, type Run, type TaskResult } from './result-file.ts'

export interface Table {
  readonly title: string
  /** What a reader must know to read it. */
  readonly note?: string
  /** The first is the head; the first cells of each name the row. */
  readonly rows: readonly (readonly string[])[]
  /** How many cells name a row. @default 1 */
  readonly names?: number
}

/** What stands for a number that is not there, or is none. */
const NONE = '–'

/** `fasp 30 %`, `dense`. */
export const runLabel = ({ name, sparsity, healed }: Run): string =>
  `${sparsity > 0 ? `${name} ${Number((100 * sparsity).toFixed(1))} %` : name}${healedText({ healed })}`

/** Of what was healed, before that. */
export const unhealedLabel = (run: Run): string => runLabel({ ...run, healed: undefined })

/** Rows that are runs: each by its name and, where one of them was healed, by what it was healed on, in a column of its own. */
export function runRows(
  head: readonly string[],
  rows: readonly (readonly [run: Run, cells: readonly string[]])[],
): Required<Pick<Table, 'rows' | 'names'>> {
  const heals = rows.some(([{ healed }]) => healed !== undefined)
  const nameOf = (run: Run) => (heals ? [unhealedLabel(run), healedTokens(run) ?? NONE] : [runLabel(run)])
  const names = heals ? ['model', 'healed'] : ['model']
  return { rows: [[...names, ...head], ...rows.map(([run, cells]) => [...nameOf(run), ...cells])], names: names.length }
}

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

/** What `runRows` takes: of each run that has any a cell for each label. */
function perRun<T>(
  runs: readonly Run[],
  of: (run: Run) => readonly T[],
  label: (one: T, run: Run) => string,
  cell: (one: T) => string,
): [head: string[], rows: [run: Run, cells: string[]][]] {
  const columns = labels(runs, of, label)
  const rows = runs.map((run): [Run, string[]] => {
    const found = new Map(of(run).map(one => [label(one, run), cell(one)]))
    return [run, columns.map(column => found.get(column) ?? NONE)]
  })
  return [columns, rows.filter(([, cells]) => cells.some(text => text !== NONE))]
}

/** All tables of a result that have something in them. */
export const resultTables = (result: ResultFile): Table[] =>
  [
    ...textTables(result),
    wordsTable(result),
    ...tasksTables(result),
    sizesTable(result),
    exportsTable(result),
    ...healingTables(result),
    lossTable(result),
    secondsTable(result),
    failuresTable(result),
  ].filter(table => table.rows.length > 1)

export function sizesTable({ model, runs }: ResultFile): Table {
  const rows = runs.map((run): [Run, string[]] => {
    const { prune, peakMemoryBytes, failed } = run
    const memory = peakMemoryBytes === undefined ? '' : bytes(peakMemoryBytes)
    if (!prune) {
      const dense = failed ? undefined : runs.find(one => one.prune)?.prune?.sizes.weightBytes.before
      const parameters = failed ? NONE : count(run.parameters ?? model.parameters)
      return [run, ['', parameters, dense ? bytes(dense) : '', '', memory]]
    }
    const { decoderLinears, parameters, weightBytes } = prune.sizes
    const sizes = [cut(decoderLinears), count(parameters.effective), bytes(weightBytes.after)]
    return [run, [...sizes, duration(total(prune.seconds)), memory]]
  })
  const shown = runRows(['cut', 'parameters', 'on disk', 'time', 'memory'], rows)
  return {
    title: 'Size, time and memory',
    note: `Cut: part of the decoder linears that is gone. Time: of pruning ${shown.names > 1 ? 'and healing ' : ''}alone. Memory: the peak of the process.`,
    ...shown,
  }
}

/** For each text, all that was measured on it: a row for each run, the least cut first. */
export function textTables({ runs }: Pick<ResultFile, 'runs'>): Table[] {
  const bySize = runs.toSorted((a, b) => a.sparsity - b.sparsity)
  return labels(runs, run => run.perplexity, textLabel).map(label => {
    const found = bySize.flatMap(run => {
      const is = (one: TextSize) => textLabel(one, run) === label
      const text = run.perplexity.find(is)
      return text ? [{ run, text, divergence: run.divergence?.find(is) }] : []
    })
    type Found = (typeof found)[number]
    const dense = found.find(({ run }) => isDense(run))?.text.perplexity
    const all: [head: string, cell: (of: Found) => string | undefined][] = [
      ['perplexity', ({ text }) => withError(text.perplexity, text.standardError)],
      [
        'than dense',
        // Tokens of two vocabularies are not compared; bits per byte are.
        of =>
          dense && !isDense(of.run) && !of.run.prune?.vocabulary
            ? perplexityChange(Math.log(of.text.perplexity / dense))
            : undefined,
      ],
      ['bits per byte', ({ text }) => (text.bitsPerByte === undefined ? undefined : decimal(text.bitsPerByte, 4))],
      ['KL', ({ divergence }) => divergence && decimal(divergence.kl, 4)],
      ['same token', ({ divergence }) => divergence && percent(divergence.topAgreement)],
    ]
    const columns = all.filter(([, cell]) => found.some(cell))
    const has = (head: string) => columns.some(([name]) => name === head)
    const { bos } = found[0].text
    const flattering = found.find(({ text }) => text.calibratedOn)
    const notes = [
      `Perplexity ± standard error, ${bos ? 'a BOS token before the text' : 'no BOS token'}.`,
      ...(has('KL') ? ['KL(dense ‖ pruned) in nats a token, and how often both find the same token most likely.'] : []),
      ...(flattering ? ['Calibrated on a text of the same corpus, which flatters these figures.'] : []),
    ]
    const heads = columns.map(([head]) => head)
    return {
      title: `Perplexity: ${label}`,
      note: notes.join(' '),
      ...runRows(
        heads,
        found.map(of => [of.run, columns.map(([, cell]) => cell(of) ?? NONE)]),
      ),
    }
  })
}

export const wordsTable = ({ runs }: ResultFile): Table => ({
  title: 'WikiText a word',
  note: 'The task wikitext of lm-evaluation-harness: whole documents, each token predicted once.',
  ...runRows(
    ['word perplexity', 'byte perplexity', 'bits per byte'],
    runs.flatMap((run): [Run, string[]][] => {
      const { wordPerplexity: one } = run
      return one
        ? [[run, [decimal(one.wordPerplexity), decimal(one.bytePerplexity, 4), decimal(one.bitsPerByte, 4)]]]
        : []
    }),
  ),
})

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
  const [tasks, rows] = perRun(
    runs,
    run => run.tasks,
    label,
    task => cell(task.accuracy),
  )
  const mean = (run: Run) => decimal(100 * (meanAccuracy(run) ?? Number.NaN), 1)
  const note = `Percent ± standard error; ${items.size === 1 ? `${[...items]} items a task` : 'task, items'}.`
  return [
    {
      title: 'Zero-shot accuracy',
      note: `${note} Mean: of normalised accuracies where there are any, of accuracies elsewhere.`,
      ...runRows(
        [...tasks, 'mean'],
        rows.map(([run, cells]) => [run, [...cells, mean(run)]]),
      ),
    },
    {
      title: 'Zero-shot accuracy, normalised',
      note: `${note} Log-likelihoods divided by the characters of each choice.`,
      ...runRows(
        ...perRun(
          runs,
          run => run.tasks.filter(task => task.accuracyNorm),
          label,
          task => cell(task.accuracyNorm!),
        ),
      ),
    },
  ]
}

/** What healing gained, and the KL after its steps. */
export function healingTables({ runs }: Pick<ResultFile, 'runs'>): Table[] {
  const healed = runs.flatMap(run => {
    const of = healingOf(run)
    return of ? [{ run, of }] : []
  })
  const steps = [...new Set(healed.flatMap(({ of }) => of.curve.map(({ step }) => step)))].sort((a, b) => a - b)
  const at = (curve: (typeof healed)[number]['of']['curve'], step: number) => curve.find(point => point.step === step)
  const note = 'KL(dense ‖ model) in nats a token on held-out windows.'
  return [
    {
      title: 'Healing',
      note: `${note} The step that is kept, of all.`,
      ...runRows(
        ['step', 'KL before', 'KL after'],
        healed.map(({ run, of }) => [
          run,
          [`${of.step} of ${of.steps}`, decimal(of.kl.before, 4), decimal(of.kl.after, 4)],
        ]),
      ),
    },
    {
      title: 'KL after steps of healing',
      note,
      rows: [
        ['step', ...healed.map(({ run }) => runLabel(run))],
        ...steps.map(step => [`${step}`, ...healed.map(({ of }) => decimal(at(of.curve, step)?.kl ?? Number.NaN, 4))]),
      ],
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
  const [head, rows] = perRun(
    runs,
    losses,
    one => one.label,
    ({ loss }) => decimal(loss.pruned - loss.dense, 3),
  )
  const name = (run: Run) => `${unhealedLabel(run)}${run.healed ? ', before healing' : ''}`
  return {
    title: 'Cost on the calibration texts',
    note: 'Loss of the pruned less that of the dense model, in nats a token, on windows calibrated on and on others. The gap is overfitting.',
    rows: [['model', ...head], ...rows.map(([run, cells]) => [name(run), ...cells])],
  }
}

export function secondsTable({ runs }: ResultFile): Table {
  return {
    title: 'Seconds by phase',
    ...runRows(
      ...perRun(
        runs,
        run => Object.entries(run.seconds),
        ([phase]) => phase,
        ([, seconds]) => decimal(seconds, 1),
      ),
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
  ...runRows(
    ['why'],
    runs.flatMap((run): [Run, string[]][] => (run.failed === undefined ? [] : [[run, [run.failed]]])),
  ),
})

/** Of the engine, by kind of graph. */
export const engineTable = (runs: readonly Run[]): Table => ({
  title: 'Seconds in the engine',
  note: 'By kind of graph, while pruning.',
  ...partRows(runs, ({ prune }) => prune?.engineSeconds),
})

/** Outside the engine, by stage. */
export const outsideTable = (runs: readonly Run[]): Table => ({
  title: 'Seconds outside the engine',
  note: 'By stage of pruning, while the engine ran nothing.',
  ...partRows(runs, ({ prune }) => prune?.outsideSeconds),
})

/** A column for each part, the longest first. */
const partRows = (runs: readonly Run[], of: (run: Run) => Readonly<Record<string, number>> | undefined) =>
  runRows(
    ...perRun(
      runs,
      run => Object.entries(of(run) ?? {}).sort(([, a], [, b]) => b - a),
      ([part]) => part,
      ([, seconds]) => decimal(seconds, 1),
    ),
  )

export const asked = ({ prompt, chat }: Continuation): string => (chat ? `user: ${prompt}` : prompt)

/** Models side by side, prompts down; where there are many models, the other way round. */
export function sampleRows(runs: readonly Run[]): Pick<Table, 'rows' | 'names'> {
  const writers = runs.filter(run => run.samples.length > 0)
  const prompts = labels(writers, run => run.samples, asked)
  const text = (run: Run, prompt: string) => run.samples.find(sample => asked(sample) === prompt)?.text ?? NONE
  if (writers.length > 3)
    return runRows(
      prompts,
      writers.map(run => [run, prompts.map(prompt => text(run, prompt))]),
    )
  const rows = prompts.map(prompt => [prompt, ...writers.map(run => text(run, prompt))])
  return { rows: [['prompt', ...writers.map(runLabel)], ...rows] }
}
