// fasp inspect: what a checkpoint is, without reading its weights.
import { inspectEvents } from '../node.ts'
import { inspectionText, tensorsTable } from '../report/terminal.ts'
import { defineCommand } from './command.ts'
import { modelArgument, OUTPUT_OPTIONS } from './environment.ts'
import { showProgress } from './progress.ts'

export default defineCommand({
  usage: 'inspect <folder | model.gguf | hub/id> [options]',
  summary: 'Shows architecture, shapes, parameters and bytes. Reads no weights.',
  options: {
    tensors: { type: 'flag', help: 'list every tensor' },
    ...OUTPUT_OPTIONS,
  },
  async run({ options, positionals }, { done, result: give, signal }) {
    const inspection = await showProgress(inspectEvents(modelArgument(positionals), { signal }))
    done(inspectionText(inspection))
    if (options.tensors) done(`\n${tensorsTable(inspection)}`)
    give(inspection)
  },
})
