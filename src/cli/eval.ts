// fasp eval: perplexity of one model on texts.
import { UsageError } from '../errors.ts'
import { describeMachine, evaluate, VERSION } from '../node.ts'
import { resultFile } from '../report/result-file.ts'
import { perplexityTable, secondsLine } from '../report/terminal.ts'
import { defineCommand } from './command.ts'
import { ENGINE_OPTIONS, modelArgument, peakMemory } from './environment.ts'
import { showProgress } from './progress.ts'
import { checkReports, describeForReport, REPORT_OPTIONS, wantsReport, writeReports } from './reports.ts'

export default defineCommand({
  usage: 'eval <folder | model.gguf | hub/id> --text <file> [options]',
  summary: 'Perplexity: exp of the mean negative log-likelihood over consecutive windows.',
  options: {
    text: { type: 'text', many: true, value: 'file', help: '.txt, .jsonl, .parquet, .gz of these; repeatable' },
    'seq-len': { type: 'integer', help: 'tokens per window (default 1024 or the context)' },
    'max-windows': { type: 'integer', help: 'the first n windows of each text (default all)' },
    ...REPORT_OPTIONS,
    overwrite: { type: 'flag', help: 'replace reports that fasp wrote' },
    ...ENGINE_OPTIONS,
    json: { type: 'flag', help: 'print the result as JSON, last line of stdout' },
  },
  examples: ['fasp eval my-model --text wiki.test.txt --seq-len 2048'],
  async run({ options, positionals }, { print, signal }) {
    const model = modelArgument(positionals)
    if (!options.text) throw new UsageError('no text. Give at least one with --text <file>.')
    await checkReports(options)
    const started = performance.now()
    const texts = await showProgress(
      evaluate(model, {
        text: options.text,
        seqLen: options['seq-len'],
        maxWindows: options['max-windows'],
        device: options.device,
        threads: options.threads,
        signal,
      }),
    )
    const seconds = { evaluate: (performance.now() - started) / 1000 }
    const peakMemoryBytes = peakMemory()
    print(`${perplexityTable({ [model]: texts })}\n\n${secondsLine(seconds, peakMemoryBytes)}`)
    if (wantsReport(options)) {
      const { model: facts, ...described } = await describeForReport(model, options, signal)
      const run = { ...described, perplexity: texts, tasks: [], seconds, peakMemoryBytes }
      const machine = describeMachine(options)
      const file = resultFile({ command: 'eval', machine, model: facts, runs: [run] })
      for (const path of await writeReports(options, file)) print(`Wrote ${path}`)
    }
    if (options.json) print(JSON.stringify({ fasp: VERSION, model, texts, seconds, peakMemoryBytes }))
  },
})
