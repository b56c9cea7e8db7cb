// The table of a comparison: a row a run, all measures in it. Columns that do not fit the terminal go on below.
import { total } from '../base/clock.ts'
import { bytes, count, duration, percent, wrap } from '../base/display.ts'
import { madeLines } from './made.ts'
import { isDense, type ResultFile, type Run } from './result-file.ts'
import { decimal, meanAccuracy, removedPart, runLabel, runRows, textName } from './tables.ts'
import { fitted, PLAIN, type TerminalStyle } from './terminal.ts'

type Column = readonly [head: string, cell: (run: Run) => string | undefined]

/** Perplexity, bits per byte, KL and top-1 agreement of each text, word perplexity, tasks, sizes, time and memory of each run; then what failed, and where runs were made. */
export function comparisonText(result: ResultFile, style: TerminalStyle = PLAIN): string {
  const { runs, model } = result
  const dense = runs.find(isDense)!
  const { perplexity: texts, tasks } = dense
  const words = runs.find(run => run.wordPerplexity)?.wordPerplexity
  const all: Column[] = [
    ...texts.flatMap(({ file }, i): Column[] => [
      [textName(file, dense).replace(/\.\w+$/, ''), run => of(run.perplexity[i], r => decimal(r.perplexity))],
      ['±', run => of(run.perplexity[i], r => decimal(r.standardError))],
      ['bits/byte', run => of(run.perplexity[i]?.bitsPerByte, bits => decimal(bits, 4))],
      ['KL', run => of(run.divergence?.[i], r => decimal(r.kl, 3))],
      ['top-1', run => of(run.divergence?.[i], r => percent(r.topAgreement))],
    ]),
    [words?.task ?? '', run => of(run.wordPerplexity, r => decimal(r.wordPerplexity))],
    ['bits/byte', run => of(run.wordPerplexity, r => decimal(r.bitsPerByte, 4))],
    ...tasks.map(
      ({ task }): Column => [
        task,
        run =>
          of(
            run.tasks.find(other => other.task === task),
            r => accuracy(r),
          ),
      ],
    ),
    ...(tasks.length > 1 ? [['tasks, mean', run => of(meanAccuracy(run), percent)] as Column] : []),
    ['cut', run => of(run.prune, () => percent(removedPart(run)))],
    ['parameters', run => (run.failed ? undefined : count(run.prune?.sizes.parameters.effective ?? model.parameters))],
    ['on disk', run => of(run.prune, ({ sizes }) => bytes(sizes.weightBytes.after))],
    ['time', run => of(run.prune, ({ seconds }) => duration(total(seconds)))],
    ['memory', run => of(run.prune && run.peakMemoryBytes, bytes)],
  ]
  const columns = all.filter(([, cell]) => runs.some(run => cell(run) !== undefined))
  const { rows, names } = runRows(
    columns.map(([head]) => head),
    runs.map(run => [run, columns.map(([, cell]) => cell(run) ?? '–')]),
  )
  const failed = runs.flatMap(run => (run.failed ? [`${runLabel(run)} failed: ${run.failed}`] : []))
  const made = madeLines(result)
  const lines = [...failed, ...(made.length > 1 ? made : [])].map(text => wrap(text, style.columns))
  return [
    fitted(rows, style.columns, names),
    wrap(notes(texts, tasks, words, names > 1), style.columns),
    ...lines,
  ].join('\n\n')
}

const notes = (texts: Run['perplexity'], tasks: Run['tasks'], words: Run['wordPerplexity'], heals: boolean): string =>
  [
    ...texts.map(
      ({ file, windows, seqLen, bos }) =>
        `${textName(file, { perplexity: texts })}: perplexity ± standard error, ${windows} × ${seqLen}, ${bos ? 'BOS' : 'no BOS'}`,
    ),
    ...(texts.length > 0 ? ['KL to the dense model in nats a token; top-1: same most likely token.'] : []),
    ...(words ? [`${words.task}: word perplexity, ${words.documents} documents, windows of ${words.seqLen}`] : []),
    ...(tasks.length > 0 ? ['Tasks: accuracy, normalised where the task has that.'] : []),
    `cut: of the decoder linears; time and memory: of pruning${heals ? ' and healing' : ''}.`,
  ].join('\n')

const accuracy = ({ accuracy: plain, accuracyNorm }: Run['tasks'][number]) => percent((accuracyNorm ?? plain).value)

const of = <T>(value: T | undefined, show: (value: T) => string): string | undefined =>
  value === undefined ? undefined : show(value)
