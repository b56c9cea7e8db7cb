// fasp heal: a pruned model, nearer to the model that it was pruned from.
import { bytes, duration, wrap } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import { finish } from '../base/events.ts'
import { describeMachine, healEvents } from '../node.ts'
import { TRAINS } from '../options/options.ts'
import { curveText, healedWords } from '../report/healed.ts'
import { type Run, resultFile } from '../report/result-file.ts'
import { defineCommand } from './command.ts'
import { healedCommands } from './next-steps.ts'
import {
  ENGINE_OPTIONS,
  engineOptions,
  groupOf,
  MPI_OPTIONS,
  modelArgument,
  OUTPUT_OPTIONS,
  PRUNING_OPTIONS,
  peakMemory,
  RESUME_OPTIONS,
  terminalStyle,
} from './process.ts'
import { showProgress } from './progress.ts'
import { modelHere, onRanks } from './ranks.ts'
import {
  checkReports,
  type Described,
  describeForReport,
  notDense,
  REPORT_OPTIONS,
  wantsReport,
  writeReports,
} from './report-files.ts'

export default defineCommand({
  usage: 'heal <pruned> --dense <model> -o <folder> [options]',
  summary: 'Brings a pruned model nearer to the dense one by gradients, without labels.',
  options: {
    dense: { type: 'text', value: 'model', needed: true, help: 'what it was pruned from' },
    output: { type: 'text', short: 'o', value: 'folder', help: 'where the healed model goes' },
    calibration: {
      type: 'text',
      many: true,
      value: 'file',
      help: 'file, wikitext2, c4, hf:org/name:split, self (default)',
    },
    tokens: { type: 'integer', help: 'to heal on (default 65,536)' },
    lr: {
      type: 'number',
      value: 'rate',
      help: 'largest rate of learning (default 1e-4, lora 1e-3, or less if that harms)',
    },
    train: {
      type: 'text',
      choices: TRAINS,
      help: 'all weights, of FFNs, or low-rank updates (default all; above 1 B lora)',
    },
    overwrite: { type: 'flag', help: 'replace what fasp wrote before' },
    ...RESUME_OPTIONS,
    windows: { type: 'integer', rare: true, help: 'of the texts at most; they come again (default as --tokens)' },
    'seq-len': { type: 'integer', rare: true, help: 'tokens per window (default 512)' },
    'held-out': { type: 'integer', rare: true, help: 'windows a text to measure on (default 4,096 tokens)' },
    'measure-on': {
      ...{ type: 'text', many: true, value: 'file', rare: true },
      help: 'another text to measure on, as --calibration; repeatable',
    },
    rank: { type: 'integer', rare: true, help: 'of low-rank updates (default 16)' },
    top: { type: 'integer', rare: true, help: 'likely tokens of the dense model to go by, 0: all (default 1024)' },
    batch: { type: 'integer', rare: true, help: 'windows of a step (default 2,048 tokens)' },
    every: { type: 'integer', rare: true, help: 'steps between measurements (default an eighth of all)' },
    seed: { type: 'integer', rare: true, help: 'of the order of windows, of self-written text (default 0)' },
    ...ENGINE_OPTIONS,
    memory: { type: 'number', value: 'GiB', rare: true, help: 'for weights and activations, then disk (default 4)' },
    products: PRUNING_OPTIONS.products,
    report: { ...REPORT_OPTIONS.report, rare: true },
    prompt: { ...REPORT_OPTIONS.prompt, rare: true },
    ...OUTPUT_OPTIONS,
    ...MPI_OPTIONS,
  },
  examples: [
    'fasp heal smaller --dense my-model -o healed --calibration wiki.txt',
    'fasp heal smaller --dense my-model -o healed --calibration c4 --report healed.html',
  ],
  async run({ options, positionals }, { print, done, result: give, signal }) {
    const group = groupOf(options, signal)
    await onRanks(group, signal, async () => {
      const pruned = modelArgument(positionals)
      const { dense, output, calibration, tokens, lr, train, rank, top, overwrite, windows, batch, every } = options
      const { seed, memory, products } = options
      if (!dense) throw new UsageError('no dense model. Say what it was pruned from: --dense <model>.')
      if (!output) throw new UsageError('no output. Say where the healed model goes: -o <folder>.')
      if (group.rank === 0) await checkReports(options)
      const reading = { read: options.read, signal }
      await using model = await modelHere(group, pruned, reading)
      await using wanted = await modelHere(group, dense, reading)
      const events = healEvents(model.path, {
        ...{ dense: wanted.path, output, calibration, tokens, lr, train, rank, top, overwrite },
        ...{ windows, batch, every, seed, memory, products, signal },
        ...{
          seqLen: options['seq-len'],
          heldOut: options['held-out'],
          measureOn: options['measure-on'],
          engine: engineOptions(options),
        },
        ...{ resume: options.resume, saveEvery: options['save-every'], group },
      })
      const told: string[] = []
      const result = await (group.rank === 0 ? showProgress(events, told) : finish(events))
      if (group.rank > 0) return
      const peakMemoryBytes = peakMemory()
      const style = terminalStyle(process.stdout)
      done(wrap(healedWords(result), style.columns))
      print(`\n${curveText(result, style)}`)
      print(`\n${duration(result.seconds)}; peak memory ${bytes(peakMemoryBytes)}`)
      done(`Wrote ${output}`)
      if (wantsReport(options)) {
        const described = []
        for (const of of [wanted.path, model.path, output]) described.push(await describeForReport(of, options, signal))
        const machine = describeMachine(engineOptions(options), products)
        const made = { heal: result, seconds: { heal: result.seconds }, peakMemoryBytes, notices: told }
        const file = resultFile({
          command: 'heal',
          machine,
          model: described[0].model,
          runs: shownRuns(described, made),
        })
        for (const path of await writeReports(options, file)) done(`Wrote ${path}`)
      }
      print(`\n${healedCommands(dense, output)}`)
      give({ ...result, peakMemoryBytes })
    })
  },
})

/** The dense model, the pruned one, and that healed. @param made what is known of the last besides */
function shownRuns(described: readonly Described[], made: Partial<Run>): Run[] {
  const [dense, ...others] = described.map(({ model: _, ...of }) => ({ perplexity: [], tasks: [], seconds: {}, ...of }))
  const [pruned, healed] = others.map(run => notDense(run, 'pruned'))
  return [{ ...dense, name: 'dense' }, pruned, { ...healed, ...made }]
}
