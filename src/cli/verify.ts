// fasp verify: whether a result is whole, and as it was written.
import { oneLine } from '../base/display.ts'
import { FormatError } from '../base/errors.ts'
import { verifyEvents } from '../node.ts'
import { defineCommand } from './command.ts'
import { engineOptions, modelArgument } from './process.ts'
import { showProgress } from './progress.ts'

const WORDS = { right: 'right', wrong: 'WRONG', unchecked: 'not checked' } as const

export default defineCommand({
  verb: 'verify',
  usage: 'verify <folder | model.gguf> [options]',
  summary: 'Checks files, shapes, kept indices, weights and logits of what fasp wrote.',
  examples: ['fasp verify smaller'],
  async run({ options, positionals }, { done, result: give, signal }) {
    const path = modelArgument(positionals)
    const found = await showProgress(verifyEvents(path, { engine: engineOptions(options), signal }))
    for (const { name, found: what, text } of found.checks) done(oneLine(`${name.padEnd(8)}${WORDS[what]}: ${text}`))
    give(found)
    const wrong = found.checks.filter(check => check.found === 'wrong').map(({ name }) => name)
    if (wrong.length > 0)
      throw new FormatError(path, `is not as it should be (${wrong.join(', ')}). Prune again, or fetch it again.`)
  },
})
