// fasp heal: a pruned model, nearer to the model that it was pruned from.
import { bytes, duration, wrap } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import { finish } from '../base/events.ts'
import { describeMachine, healEvents } from '../node.ts'
import { type Run, resultFile } from '../report/result-file.ts'
import { curveText, healedWords } from '../report/terminal.ts'
import { given } from './arguments.ts'
import { defineCommand } from './command.ts'
import { healedCommands } from './next-steps.ts'
import { engineOptions, groupOf, modelArgument, peakMemory, terminalStyle } from './process.ts'
import { showProgress } from './progress.ts'
import { modelHere, onRanks } from './ranks.ts'
import { checkReports, type Described, describeForReport, notDense, wantsReport, writeReports } from './report-files.ts'

export default defineCommand({
  verb: 'heal',
  usage: 'heal <pruned> --dense <model> -o <folder> [options]',
  summary: 'Brings a pruned model nearer to the dense one by gradients, without labels.',
  examples: [
    'fasp heal smaller --dense my-model -o healed --calibration wiki.txt',
    'fasp heal smaller --dense my-model -o healed --calibration c4 --report healed.html',
  ],
  async run({ options, positionals }, { print, done, result: give, signal }) {
    const group = groupOf(options, signal)
    await onRanks(group, signal, async () => {
      const pruned = modelArgument(positionals)
      const { dense, output, products } = options
      if (!dense) throw new UsageError('no dense model. Say what it was pruned from: --dense <model>.')
      if (!output) throw new UsageError('no output. Say where the healed model goes: -o <folder>.')
      if (group.rank === 0) await checkReports(options)
      const reading = { read: options.read, signal }
      await using model = await modelHere(group, pruned, reading)
      await using wanted = await modelHere(group, dense, reading)
      const on = { engine: engineOptions(options), group, signal }
      const events = healEvents(model.path, { ...given('heal', options), dense: wanted.path, output, ...on })
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
        const others = { heal: result, seconds: { heal: result.seconds }, peakMemoryBytes, notices: told }
        const file = resultFile({
          command: 'heal',
          machine,
          model: described[0].model,
          runs: shownRuns(described, others),
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
