// fasp inspect: what a checkpoint is, without reading its weights.
import { inspectEvents } from '../node.ts'
import { inspectionText, tensorsTable } from '../report/terminal.ts'
import { defineCommand } from './command.ts'
import { modelArgument } from './environment.ts'
import { showProgress } from './progress.ts'

export default defineCommand({
  usage: 'inspect <folder | model.gguf | hub/id> [options]',
  summary: 'Shows architecture, shapes, parameters and bytes. Reads no weights.',
  options: {
    tensors: { type: 'flag', help: 'list every tensor' },
    json: { type: 'flag', help: 'print everything as JSON, last line of stdout' },
  },
  async run({ options, positionals }, { print, signal }) {
    const inspection = await showProgress(inspectEvents(modelArgument(positionals), { signal }))
    print(inspectionText(inspection))
    if (options.tensors) print(`\n${tensorsTable(inspection)}`)
    if (options.json) print(JSON.stringify(inspection))
  },
})
