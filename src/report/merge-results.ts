// Several results as one: runs below each other, the dense model once. Figures of different protocols do not go into one table.
import { UsageError } from '../base/errors.ts'
import { type ContentHash, isDense, madeOf, type Protocol, type ResultFile } from './result-file.ts'

/**
 * The runs of several results as one: of the dense model one run, with the texts and tasks of all.
 * @param varied what may differ between comparisons: a chart shows it
 * @throws UsageError for results of different models, and comparisons that differ in what they have in common
 */
export function mergeResults(results: readonly ResultFile[], varied: readonly (keyof Protocol)[] = []): ResultFile {
  const [first] = results
  const other = results.find(({ model }) => JSON.stringify(model) !== JSON.stringify(first.model))
  if (other)
    throw new UsageError(
      `the results are of different models: ${first.model.name} and ${other.model.name}. Report on one model at a time.`,
    )
  const known = new Map<string, string>()
  for (const [field, what, value] of results.flatMap(({ protocol }) => (protocol ? facts(protocol) : []))) {
    const before = known.get(what) ?? value
    if (before !== value && !varied.includes(field))
      throw new UsageError(`the results differ in ${what}: ${before}, and ${value}. Report on each of them alone.`)
    known.set(what, before)
  }
  const runs = results.flatMap(result => result.runs.map(run => ({ ...run, made: madeOf(run, result) })))
  const dense = runs.filter(isDense)
  const texts = new Map(
    dense.flatMap(run => run.perplexity).map(text => [JSON.stringify([text.file, text.windows, text.seqLen]), text]),
  )
  const tasks = new Map(dense.flatMap(run => run.tasks).map(task => [task.task, task]))
  const wordPerplexity = dense.find(run => run.wordPerplexity)?.wordPerplexity
  const one = dense
    .slice(0, 1)
    .map(run => ({ ...run, perplexity: [...texts.values()], tasks: [...tasks.values()], wordPerplexity }))
  return { ...first, runs: [...one, ...runs.filter(run => !isDense(run))] }
}

type Fact = readonly [field: keyof Protocol, what: string, value: string]

/** What comparisons must have in common; of texts and tasks those that both have. Prompts and the device change no figure's meaning. */
function facts(protocol: Protocol): Fact[] {
  const { text, maxWindows, seqLen, tasks, limit, calibration, samples, calibrationSeqLen, seed } = protocol
  const hashed = ({ sha256 }: ContentHash) => `SHA-256 ${sha256.slice(0, 8)}…`
  const first = (n: number | undefined, of: string) => (n === undefined ? `all ${of}` : `the first ${n} ${of}`)
  const calibrated = calibration.map(one => `${one.file} (${hashed(one)})`).join(' and ') || 'self-written'
  return [
    ['model', 'the files of the model', `SHA-256 ${protocol.model.slice(0, 8)}…`],
    ['calibration', 'calibration texts', calibrated],
    ['samples', 'calibration windows', String(samples)],
    ['calibrationSeqLen', 'tokens of a calibration window', String(calibrationSeqLen)],
    ['seqLen', 'tokens of a window', String(seqLen)],
    ['seed', 'the seed', String(seed)],
    ...text.map((one, i): Fact => ['text', one.file, `${first(maxWindows?.[i], 'windows')} (${hashed(one)})`]),
    ...tasks.map((one): Fact => ['tasks', one.file, `${first(limit, 'items')} (${hashed(one)})`]),
  ]
}
