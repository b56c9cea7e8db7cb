// fasp eval: perplexity of one model on texts, its distance to a dense model, zero-shot tasks.

import { UsageError } from '../base/errors.ts'
import { finish } from '../base/events.ts'
import { readContents } from '../compare/protocol.node.ts'
import { describeMachine, evaluateEvents, VERSION } from '../node.ts'
import { measuresText } from '../report/measures.ts'
import { type Run, resultFile } from '../report/result-file.ts'
import { secondsLine } from '../report/terminal.ts'
import { defineCommand } from './command.ts'
import { ENGINE_OPTIONS, engineOptions, modelArgument, OUTPUT_OPTIONS, peakMemory } from './process.ts'
import { showProgress } from './progress.ts'
import { checkReports, describeForReport, notDense, REPORT_OPTIONS, wantsReport, writeReports } from './report-files.ts'

export default defineCommand({
  usage: 'eval <folder | model.gguf | hub/id> --text <file> --tasks <names> [options]',
  summary: 'Perplexity on texts, zero-shot tasks, and the distance to a dense model.',
  options: {
    text: {
      type: 'text',
      needed: true,
      many: true,
      value: 'file',
      help: 'file, or wikitext2, c4, hf:org/name:split; repeatable',
    },
    'seq-len': { type: 'integer', list: true, value: 'n,…', help: 'tokens per window (default 1024 or the context)' },
    windows: {
      type: 'integer',
      also: 'text-windows',
      help: 'the first n windows of each text (default all); also --text-windows, as in prune',
    },
    dense: { type: 'text', value: 'model', help: 'on each text, KL to this model and top-1 agreement' },
    tasks: { type: 'text', list: true, value: 'names', help: 'zero-shot tasks: arc_easy,piqa,…' },
    'tasks-data': { type: 'text', many: true, value: 'folder', help: 'task files (default: from the Hub); repeatable' },
    limit: { type: 'integer', help: 'the first n items of each task (default all)' },
    ...REPORT_OPTIONS,
    overwrite: { type: 'flag', help: 'replace reports that fasp wrote' },
    ...ENGINE_OPTIONS,
    ...OUTPUT_OPTIONS,
  },
  examples: [
    'fasp eval my-model --text wiki.test.txt --seq-len 1024,2048',
    'fasp eval my-model --tasks arc_easy,hellaswag --limit 200',
    'fasp eval smaller --dense my-model --text wiki.test.txt',
  ],
  async run({ options, positionals }, { done, result: give, signal }) {
    const model = modelArgument(positionals)
    const { text, dense, tasks, limit, 'tasks-data': tasksData } = options
    if (!text && !tasks) throw new UsageError('nothing to measure. Give --text <file>, --tasks <names>, or both.')
    if (dense && !text) throw new UsageError('--dense compares models on texts. Give at least one with --text <file>.')
    if ((limit !== undefined || tasksData) && !tasks)
      throw new UsageError('--limit and --tasks-data are for tasks. Say which with --tasks <names>.')
    await checkReports(options)
    const started = performance.now()
    const engine = engineOptions(options)
    const { 'seq-len': seqLen, windows } = options
    const notices: string[] = []
    const measures = await showProgress(
      evaluateEvents(model, { text, seqLen, windows, dense, tasks, tasksData, limit, engine, signal }),
      notices,
    )
    const seconds = { evaluate: (performance.now() - started) / 1000 }
    const peakMemoryBytes = peakMemory()
    done(`${measuresText(measures)}\n\n${secondsLine(seconds, peakMemoryBytes)}`)
    if (wantsReport(options)) {
      const { model: facts, ...described } = await describeForReport(model, options, signal)
      const { dense: densePerplexity, ...own } = measures
      const run = { ...described, ...own, seconds, peakMemoryBytes, notices }
      const runs = densePerplexity
        ? [await denseRun(dense!, densePerplexity, options, signal), notDense(run, facts.name)]
        : [run]
      const read = await finish(readContents({ text, tasks, tasksData, signal }))
      const evaluation = { dense, text: read.text, tasks: read.tasks, limit }
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
