// fasp eval: perplexity of one model on texts, its distance to a dense model, zero-shot tasks.
import { baseName } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import { describeMachine, evaluateEvents, VERSION } from '../node.ts'
import { type Run, resultFile } from '../report/result-file.ts'
import { measuredRuns } from '../report/tables.ts'
import { measuresText, secondsLine } from '../report/terminal.ts'
import { given } from './arguments.ts'
import { defineCommand } from './command.ts'
import { engineOptions, modelArgument, peakMemory } from './process.ts'
import { showProgress } from './progress.ts'
import { checkReports, describeForReport, notDense, wantsReport, writeReports } from './report-files.ts'

export default defineCommand({
  verb: 'evaluate',
  usage: 'eval <folder | model.gguf | hub/id> --text <file> --tasks <names> [options]',
  summary: 'Perplexity on texts, zero-shot tasks, and the distance to a dense model.',
  examples: [
    'fasp eval my-model --text wiki.test.txt --seq-len 1024,2048',
    'fasp eval my-model --tasks arc_easy,hellaswag --limit 200',
    'fasp eval smaller --dense my-model --text wiki.test.txt',
  ],
  async run({ options, positionals }, { done, result: give, signal }) {
    const model = modelArgument(positionals)
    const { text, dense, tasks, limit, tasksData } = options
    if (!text && !tasks) throw new UsageError('nothing to measure. Give --text <file>, --tasks <names>, or both.')
    if (dense && !text) throw new UsageError('--dense compares models on texts. Give at least one with --text <file>.')
    if ((limit !== undefined || tasksData) && !tasks)
      throw new UsageError('--limit and --tasks-data are for tasks. Say which with --tasks <names>.')
    await checkReports(options)
    const started = performance.now()
    const engine = engineOptions(options)
    const notices: string[] = []
    const { contents, ...measures } = await showProgress(
      evaluateEvents(model, { ...given('evaluate', options), engine, signal }),
      notices,
    )
    const seconds = { evaluate: (performance.now() - started) / 1000 }
    const peakMemoryBytes = peakMemory()
    done(`${measuresText(measuredRuns(measures, baseName(model)))}\n\n${secondsLine(seconds, peakMemoryBytes)}`)
    if (wantsReport(options)) {
      const { model: facts, ...described } = await describeForReport(model, options, signal)
      const { dense: densePerplexity, ...own } = measures
      const run = { ...described, ...own, seconds, peakMemoryBytes, notices }
      const runs = densePerplexity
        ? [await denseRun(dense!, densePerplexity, options, signal), notDense(run, facts.name)]
        : [run]
      const evaluation = { dense, ...contents, limit }
      const machine = describeMachine(engine)
      const file = resultFile({ command: 'eval', machine, model: facts, evaluation, runs })
      for (const path of await writeReports(options, file)) done(`Wrote ${path}`)
    }
    const { perplexity: texts, ...others } = measures
    give({ fasp: VERSION, model, texts, ...others, seconds, peakMemoryBytes })
  },
})

/** Of the model that distances are from: its perplexity, and what it writes. */
async function denseRun(
  dense: string,
  perplexity: Run['perplexity'],
  options: Parameters<typeof describeForReport>[1],
  signal: AbortSignal,
): Promise<Run> {
  const { samples, parameters } = await describeForReport(dense, options, signal)
  return { name: 'dense', sparsity: 0, parameters, samples, tasks: [], perplexity, seconds: {} }
}
