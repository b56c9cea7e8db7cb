// fasp bench: how fast models are on this machine, side by side.
import { UsageError } from '../base/errors.ts'
import { speed } from '../node.ts'
import { checkTextFile, writeTextFile } from '../report/report.node.ts'
import { speedTable } from '../report/speeds.ts'
import { defineCommand } from './command.ts'
import { engineOptions } from './process.ts'
import { showProgress } from './progress.ts'

export default defineCommand({
  verb: 'bench',
  usage: 'bench <model>… [options]',
  summary: 'Times models side by side: a prompt, then token by token.',
  examples: ['fasp bench model model-30%', 'fasp bench model.gguf smaller.gguf -o result.json'],
  async run({ options, positionals }, { done, result: give, signal }) {
    const { output, overwrite, runs } = options
    if (positionals.length === 0) throw new UsageError('Name the models to be timed: fasp bench my-model smaller.')
    if (output !== undefined) await checkTextFile(output, overwrite)
    const result = await showProgress(speed(positionals, { runs, engine: engineOptions(options), signal }))
    done(speedTable(result))
    try {
      if (output !== undefined) {
        await writeTextFile(output, `${JSON.stringify(result, null, 2)}\n`, overwrite)
        done(`Wrote ${output}`)
      }
    } finally {
      give(result) // where the file cannot be written, too
    }
  },
})
