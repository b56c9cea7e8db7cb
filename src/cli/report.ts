// fasp report: results as text, as an HTML page, as Markdown tables, or as one of their charts.
import { UsageError } from '../base/errors.ts'
import { mergeResults, readResult, writeReport } from '../node.ts'
import { resultText } from '../report/terminal.ts'
import { defineCommand } from './command.ts'
import { terminalStyle } from './process.ts'

export default defineCommand({
  verb: 'report',
  usage: 'report <result.json> … [-o <file>] [options]',
  summary: 'Shows results: on the terminal, or as a page, tables or a chart.',
  examples: ['fasp report result.json -o report.html', 'fasp report a.json b.json -o perplexity.svg'],
  async run({ options, positionals }, { print }) {
    const { output, chart, overwrite } = options
    if (positionals.length === 0) throw new UsageError('no result. Give a .json that --report or fasp compare wrote.')
    if (chart && !output) throw new UsageError('no output for the chart. Say where it goes: -o <file>.svg.')
    const varied = chart === 'tokens' ? (['samples', 'calibrationSeqLen'] as const) : []
    const result = mergeResults(await Promise.all(positionals.map(readResult)), varied)
    if (!output) return print(resultText(result, terminalStyle(process.stdout)))
    await writeReport(output, result, { chart, overwrite })
    print(`Wrote ${output}`)
  },
})
