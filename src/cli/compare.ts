// fasp compare: methods under one protocol → one table and one result file.
import { RunError, UsageError } from '../errors.ts'
import { type CompareMethod, checkReport, compare, compareMethod, writeReport } from '../node.ts'
import { comparisonText } from '../report/comparison.ts'
import { parseArguments } from './arguments.ts'
import { defineCommand } from './command.ts'
import { engineOptions, modelArgument, PRUNING_OPTIONS, terminalStyle } from './environment.ts'
import { showProgress } from './progress.ts'
import { METHOD_OPTIONS, methodOptions } from './prune.ts'

export default defineCommand({
  usage: 'compare <folder | model.gguf | hub/id> --methods <list> -s <list> -o <file>',
  summary: 'Measures methods at several sparsities beside the dense model.',
  options: {
    methods: {
      type: 'text',
      list: true,
      value: 'list',
      help: 'presets and methods; with options best:alpha=0.25',
    },
    sparsity: {
      type: 'number',
      short: 's',
      list: true,
      value: 'list',
      help: 'parts of the decoder linears to remove: 0.2,0.3',
    },
    text: { type: 'text', many: true, value: 'file', help: 'text for perplexity and KL; repeatable' },
    output: { type: 'text', short: 'o', value: 'file', help: 'result file; one that was begun is completed' },
    overwrite: { type: 'flag', help: 'start anew where the file holds a result' },
    calibration: {
      type: 'text',
      many: true,
      value: 'file',
      help: 'text to calibrate on; repeatable (or self-written)',
    },
    samples: { type: 'integer', help: 'calibration windows (default 32; self-written 64)' },
    'calibration-seq-len': { type: 'integer', help: 'tokens per calibration window (--seq-len)' },
    'seq-len': { type: 'integer', help: 'tokens per window, of both kinds (default 1024)' },
    'max-windows': {
      type: 'integer',
      list: true,
      value: 'list',
      help: 'the first n windows of each text (default all)',
    },
    tasks: { type: 'text', list: true, value: 'list', help: 'zero-shot tasks: arc_easy,piqa,… (docs/tasks.md)' },
    'tasks-data': { type: 'text', many: true, value: 'folder', help: 'their items (default: from the Hub)' },
    limit: { type: 'integer', help: 'the first n items of each task (default all)' },
    prompt: { type: 'text', many: true, value: 'text', help: 'for each model to continue; repeatable' },
    seed: { type: 'integer', help: 'seed of the self-written text (default 0)' },
    ...PRUNING_OPTIONS,
    memory: { type: 'number', value: 'GiB', help: 'memory for activations, then disk (default 1)' },
    report: { type: 'text', value: 'file', help: 'a report as well: .html, .md, .svg' },
    json: { type: 'flag', help: 'print the result as JSON, last line of stdout' },
  },
  examples: ['fasp compare my-model --methods paper,best -s 0.2,0.3 --text w.txt -o r.json'],
  async run({ options, positionals }, { print, signal }) {
    const model = modelArgument(positionals)
    const { output, methods, sparsity, text, tasks, report, json, prompt: prompts, 'max-windows': windows } = options
    if (!methods) throw new UsageError('no methods. Name some, for example --methods paper,best.')
    if (!sparsity) throw new UsageError('no sparsity. Say how much to remove, for example -s 0.2,0.3.')
    if (!output) throw new UsageError('no output. Say where the result goes: -o <file>.')
    if ((options.limit !== undefined || options['tasks-data']) && !tasks)
      throw new UsageError('--limit and --tasks-data are for tasks. Say which with --tasks <names>.')
    if (report) await checkReport(report, { overwrite: true })
    signal.addEventListener('abort', () =>
      process.stderr.write(`\nWhat is done is kept; the same command goes on from there.\n`),
    )
    const result = await showProgress(
      compare(model, {
        ...options,
        ...{ output, text, prompts, engine: engineOptions(options), signal },
        ...{ methods: methods.map(parseMethod), sparsity, tasks },
        tasksData: options['tasks-data'],
        seqLen: options['seq-len'],
        calibrationSeqLen: options['calibration-seq-len'],
        maxWindows: windows?.length === 1 ? windows[0] : windows,
      }),
    )
    print(`${comparisonText(result, terminalStyle(process.stdout))}\n\nWrote ${output}`)
    if (report) {
      await writeReport(report, result, { overwrite: true })
      print(`Wrote ${report}`)
    }
    if (json) print(JSON.stringify(result))
    const failed = result.runs.filter(run => run.failed).length
    if (failed > 0)
      throw new RunError(`${failed} of ${result.runs.length} runs failed. The same command tries them again.`)
  },
})

/** `best`, or with options of `fasp prune` after colons: `best:alpha=0.25:no-restore`. @throws UsageError */
function parseMethod(text: string): CompareMethod {
  const [name, ...more] = text.split(':')
  const none = more.find(option => option === '' || option === 'help')
  if (none !== undefined)
    throw new UsageError(`method "${text}" has an option "${none}". Write options of fasp prune: best:alpha=0.25.`)
  const { options } = parseArguments(
    more.map(option => `--${option}`),
    METHOD_OPTIONS,
  )
  return { ...compareMethod(name, methodOptions(options)), name: text }
}
