// fasp bench: how fast pruning is on this machine, and where the time goes.
import { readFile } from 'node:fs/promises'
import { bench } from '../bench/bench.node.ts'
import { benchTable } from '../bench/table.ts'
import { findWorkload } from '../bench/workloads.ts'
import { UsageError } from '../errors.ts'
import { checkTextFile, writeTextFile } from '../write/text-file.node.ts'
import { defineCommand } from './command.ts'
import { PRUNING_OPTIONS } from './environment.ts'
import { showProgress } from './progress.ts'
import { METHOD_OPTIONS } from './prune.ts'

const TOKENIZER = new URL('../assets/tiny-llama/tokenizer.json', import.meta.url)

export default defineCommand({
  usage: 'bench [options]',
  summary: 'Times pruning a random model, stage by stage, beside this machine’s own rate.',
  options: {
    workload: { type: 'text', value: 'name', help: 'quick (default), smollm2, opt-125m, llama-7b-1/4/8' },
    model: { type: 'text', value: 'path', help: 'prune this model instead of a random one' },
    windows: { type: 'integer', help: 'calibration windows (default: the workload’s)' },
    output: { type: 'text', short: 'o', value: 'file', help: 'write the result there as JSON' },
    overwrite: { type: 'flag', help: 'replace a result of an earlier run' },
    keep: { type: 'text', value: 'folder', help: 'work there and keep both models (default TMPDIR)' },
    products: METHOD_OPTIONS.products,
    ...PRUNING_OPTIONS,
    memory: { type: 'number', value: 'GiB', help: 'memory for activations, then disk (default 1)' },
    json: { type: 'flag', help: 'print the result as JSON, last line of stdout' },
  },
  examples: ['fasp bench', 'fasp bench --workload llama-7b-4 -o result.json'],
  async run({ options, positionals }, { print, signal }) {
    if (positionals.length > 0) throw new UsageError(`bench takes no argument; got ${positionals.join(', ')}.`)
    const { output, overwrite, workload = 'quick', json, ...settings } = options
    if (output !== undefined) await checkTextFile(output, overwrite)
    const sideFiles = [{ name: 'tokenizer.json', bytes: await readFile(TOKENIZER) }]
    const result = await showProgress(bench({ ...settings, workload: findWorkload(workload), sideFiles, signal }))
    print(benchTable(result))
    try {
      if (output !== undefined) {
        await writeTextFile(output, `${JSON.stringify(result, null, 2)}\n`, overwrite)
        print(`Wrote ${output}`)
      }
    } finally {
      if (json) print(JSON.stringify(result)) // where the file cannot be written, too
    }
  },
})
