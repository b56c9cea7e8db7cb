// fasp compare: methods under one protocol → one table and one result file.
import { baseName } from '../base/display.ts'
import { RunError, UsageError } from '../base/errors.ts'
import { compareEvents } from '../node.ts'
import { comparisonText } from '../report/terminal.ts'
import { given } from './arguments.ts'
import { defineCommand } from './command.ts'
import { engineOptions, modelArgument, terminalStyle } from './process.ts'
import { showProgress } from './progress.ts'
import { checkReports, writeReports } from './report-files.ts'

const METHODS = ['plain', 'stock', 'best']
const SPARSITY = [0.1, 0.2, 0.3]

export default defineCommand({
  verb: 'compare',
  usage: 'compare <folder | model.gguf | hub/id> [options]',
  summary: 'Measures methods at several sparsities beside the dense model.',
  methods: true,
  examples: ['fasp compare my-model', 'fasp compare my-model --methods paper,best -s 0.2,0.3 --text w.txt -o r.json'],
  async run({ options, positionals }, { print, done, result: give, signal }) {
    const model = modelArgument(positionals)
    const { output = `compare-${baseName(model)}.json`, methods = METHODS, sparsity = SPARSITY } = options
    const { tasks, tasksData, limit, textWindows, overwrite, report } = options
    if ((limit !== undefined || tasksData) && !tasks)
      throw new UsageError('--limit and --tasks-data are for tasks. Say which with --tasks <names>.')
    if (overwrite && options.resume) throw new UsageError('--overwrite starts anew, and --resume goes on. Give one.')
    const reports = { report, overwrite: true }
    await checkReports(reports)
    const asked = { ...given('compare', options), output, methods, sparsity }
    const windows = textWindows?.length === 1 ? textWindows[0] : textWindows
    const on = { engine: engineOptions(options), signal }
    const result = await showProgress(compareEvents(model, { ...asked, textWindows: windows, ...on }))
    print(`${comparisonText(result, terminalStyle(process.stdout))}\n`)
    done(`Wrote ${output}`)
    for (const path of await writeReports(reports, result)) done(`Wrote ${path}`)
    give(result)
    const failed = result.runs.filter(run => run.failed).length
    if (failed > 0)
      throw new RunError(`${failed} of ${result.runs.length} runs failed. The same command tries them again.`)
  },
})
