// fasp bench: how fast pruning is on this machine, and where the time goes; or how fast models are.
import { readFile } from 'node:fs/promises'
import { bench } from '../bench/bench.node.ts'
import type { BenchResult, SpeedResult } from '../bench/result.ts'
import { speed } from '../bench/speed.node.ts'
import { benchTable, speedTable } from '../bench/table.ts'
import { findWorkload } from '../bench/workloads.ts'
import { UsageError } from '../errors.ts'
import { checkTextFile, writeTextFile } from '../write/text-file.node.ts'
import { defineCommand } from './command.ts'
import { ENGINE_OPTIONS, engineOptions, LINALG_OPTIONS, OUTPUT_OPTIONS, PRUNING_OPTIONS } from './environment.ts'
import { showProgress } from './progress.ts'

const TOKENIZER = new URL('../assets/tiny-llama/tokenizer.json', import.meta.url)

/** Of pruning alone. */
const WORKLOAD_OPTIONS = {
  workload: { type: 'text', value: 'name', help: 'quick (default), smollm2, opt-125m, llama-7b-1/4/8' },
  model: { type: 'text', value: 'path', help: 'prune this model instead of a random one' },
  windows: { type: 'integer', help: 'calibration windows (default: the workload’s)' },
  keep: { type: 'text', value: 'folder', help: 'work there and keep both models (default TMPDIR)' },
  products: PRUNING_OPTIONS.products,
  ...LINALG_OPTIONS,
  memory: PRUNING_OPTIONS.memory,
} as const

export default defineCommand({
  usage: 'bench [model…] [options]',
  summary: 'Times pruning a random model, or models side by side.',
  options: {
    ...WORKLOAD_OPTIONS,
    runs: { type: 'integer', help: 'turns of each model that is named (default 3)' },
    ...ENGINE_OPTIONS,
    output: { type: 'text', short: 'o', value: 'file', help: 'write the result there as JSON' },
    overwrite: { type: 'flag', help: 'replace a result of an earlier run' },
    ...OUTPUT_OPTIONS,
  },
  examples: ['fasp bench', 'fasp bench --workload llama-7b-4 -o result.json', 'fasp bench model model-30%'],
  async run({ options, positionals }, { done, result: give, signal }) {
    const { output, overwrite, workload = 'quick', runs, json: _, quiet: __, ...settings } = options
    const named = positionals.length > 0
    const other = named ? Object.keys(WORKLOAD_OPTIONS) : ['runs']
    for (const name of other as (keyof typeof options)[])
      if (options[name] !== undefined)
        throw new UsageError(
          `--${name} is for timing ${named ? 'pruning: leave it out, or the models' : 'models: name some'}.`,
        )
    if (output !== undefined) await checkTextFile(output, overwrite)
    const finished = async (result: BenchResult | SpeedResult, text: string) => {
      done(text)
      try {
        if (output !== undefined) {
          await writeTextFile(output, `${JSON.stringify(result, null, 2)}\n`, overwrite)
          done(`Wrote ${output}`)
        }
      } finally {
        give(result) // where the file cannot be written, too
      }
    }
    const engine = engineOptions(options)
    if (named) {
      const result = await showProgress(speed(positionals, { runs, engine, signal }))
      return finished(result, speedTable(result))
    }
    const sideFiles = [{ name: 'tokenizer.json', bytes: await readFile(TOKENIZER) }]
    const result = await showProgress(
      bench({ ...settings, engine, workload: findWorkload(workload), sideFiles, signal }),
    )
    return finished(result, benchTable(result))
  },
})
