// fasp inspect: what a checkpoint is, without reading its weights; or what this machine computes with.
import { wrap } from '../base/display.ts'
import { FormatError, UnsupportedModelError, UsageError } from '../base/errors.ts'
import { inspectDevices, inspectEvents, outline } from '../node.ts'
import { curveText, healedWords, inspectionText, outlineText, tensorsTable } from '../report/terminal.ts'
import { defineCommand } from './command.ts'
import { devicesText } from './device.ts'
import { modelArgument, terminalStyle } from './process.ts'
import { showProgress } from './progress.ts'

export default defineCommand({
  verb: 'inspect',
  usage: 'inspect <folder | model.gguf | hub/id> [options]',
  summary: 'Shows architecture, shapes, parameters and bytes. Reads no weights.',
  examples: ['fasp inspect my-model', 'fasp inspect --devices'],
  async run({ options, positionals }, { done, result: give, signal }) {
    if (options.devices) {
      if (positionals.length > 0 || options.tensors)
        throw new UsageError('--devices is of this machine. Leave out the model and --tensors, or --devices.')
      const devices = await inspectDevices()
      done(devicesText(devices, terminalStyle(process.stdout).columns))
      return give(devices)
    }
    const model = modelArgument(positionals)
    const inspection = await showProgress(inspectEvents(model, { signal })).catch(async error => {
      const known = error instanceof UnsupportedModelError || error instanceof FormatError
      const headers = known ? await outline(model, { signal }).catch(() => undefined) : undefined
      if (headers) process.stderr.write(`${outlineText(headers)}\n`)
      throw error
    })
    const { healed } = inspection
    done(inspectionText(inspection))
    if (healed) {
      const style = terminalStyle(process.stdout)
      done(`\n${wrap(healedWords(healed), style.columns)}\n\n${curveText(healed, style)}`)
    }
    if (options.tensors) done(`\n${tensorsTable(inspection)}`)
    give(inspection)
  },
})
