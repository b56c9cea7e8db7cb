// fasp compare: methods under one protocol → one table and one result file.
import { baseName } from '../base/display.ts'
import { RunError, UsageError } from '../base/errors.ts'
import { HEAL_DEFAULTS } from '../heal/healing.node.ts'
import { compareEvents } from '../node.ts'
import { comparisonText } from '../report/comparison.ts'
import { PERCENT } from './arguments.ts'
import { defineCommand } from './command.ts'
import { engineOptions, modelArgument, OUTPUT_OPTIONS, PRUNING_OPTIONS, terminalStyle } from './process.ts'
import { showProgress } from './progress.ts'
import { checkReports, REPORT_OPTIONS, writeReports } from './report-files.ts'

const METHODS = ['plain', 'stock', 'best']
const SPARSITY = [0.1, 0.2, 0.3]

export default defineCommand({
  usage: 'compare <folder | model.gguf | hub/id> [options]',
  summary: 'Measures methods at several sparsities beside the dense model.',
  options: {
    methods: {
      type: 'text',
      list: true,
      value: 'list',
      help: 'methods of fasp prune (default plain,stock,best); --help-all lists them',
    },
    sparsity: {
      type: 'number',
      short: 's',
      list: true,
      units: PERCENT,
      value: 'list',
      help: 'parts of the decoder linears to remove (default 0.1,0.2,0.3)',
    },
    heal: {
      type: 'integer',
      list: true,
      bare: String(HEAL_DEFAULTS.tokens),
      value: 'tokens',
      help: 'each healed by gradients, too, on so many (65,536)',
    },
    lr: {
      type: 'number',
      value: 'rate',
      rare: true,
      help: 'of --heal: largest rate (default 1e-4, lora 1e-3, or less if that harms)',
    },
    text: { type: 'text', many: true, value: 'file', help: 'text for perplexity and KL; repeatable' },
    output: {
      type: 'text',
      short: 'o',
      value: 'file',
      help: 'result file; one that was begun is completed (default compare-<model>.json)',
    },
    overwrite: { type: 'flag', help: 'start anew where the file holds a result' },
    resume: { type: 'flag', rare: true, help: 'complete what was begun, as it does without --overwrite' },
    calibration: {
      type: 'text',
      many: true,
      value: 'file',
      help: 'text to calibrate on, or self; repeatable (default self)',
    },
    windows: { type: 'integer', help: 'calibration windows (default 32; self-written 64)' },
    'calibration-seq-len': { type: 'integer', rare: true, help: 'tokens per calibration window (--seq-len)' },
    'seq-len': { type: 'integer', help: 'tokens per window, of both kinds (default 1024)' },
    'text-windows': {
      type: 'integer',
      list: true,
      value: 'list',
      help: 'the first n windows of each text (default all)',
    },
    tasks: { type: 'text', list: true, value: 'list', help: 'zero-shot tasks: arc_easy,piqa,… (docs/tasks.md)' },
    'tasks-data': {
      type: 'text',
      rare: true,
      many: true,
      value: 'folder',
      help: 'their items (default: from the Hub)',
    },
    limit: { type: 'integer', rare: true, help: 'the first n items of each task (default all)' },
    prompt: { type: 'text', many: true, value: 'text', help: 'for each model to continue; repeatable' },
    seed: { type: 'integer', rare: true, help: 'seed of the self-written text (default 0)' },
    ...PRUNING_OPTIONS,
    report: REPORT_OPTIONS.report,
    ...OUTPUT_OPTIONS,
  },
  methods: true,
  examples: ['fasp compare my-model', 'fasp compare my-model --methods paper,best -s 0.2,0.3 --text w.txt -o r.json'],
  async run({ options, positionals }, { print, done, result: give, signal }) {
    const model = modelArgument(positionals)
    const {
      methods = METHODS,
      sparsity = SPARSITY,
      output = `compare-${baseName(model)}.json`,
      text,
      tasks,
      report,
      prompt: prompts,
      'text-windows': windows,
    } = options
    const { overwrite, limit, calibration, seed, memory, products, heal, lr } = options
    if ((limit !== undefined || options['tasks-data']) && !tasks)
      throw new UsageError('--limit and --tasks-data are for tasks. Say which with --tasks <names>.')
    if (overwrite && options.resume) throw new UsageError('--overwrite starts anew, and --resume goes on. Give one.')
    const reports = { report, overwrite: true }
    await checkReports(reports)
    const result = await showProgress(
      compareEvents(model, {
        ...{
          output,
          overwrite,
          methods,
          sparsity,
          text,
          tasks,
          limit,
          calibration,
          prompts,
          seed,
          memory,
          products,
          heal,
          lr,
          signal,
        },
        engine: engineOptions(options),
        tasksData: options['tasks-data'],
        windows: options.windows,
        seqLen: options['seq-len'],
        calibrationSeqLen: options['calibration-seq-len'],
        textWindows: windows?.length === 1 ? windows[0] : windows,
      }),
    )
    print(`${comparisonText(result, terminalStyle(process.stdout))}\n`)
    done(`Wrote ${output}`)
    for (const path of await writeReports(reports, result)) done(`Wrote ${path}`)
    give(result)
    const failed = result.runs.filter(run => run.failed).length
    if (failed > 0)
      throw new RunError(`${failed} of ${result.runs.length} runs failed. The same command tries them again.`)
  },
})
