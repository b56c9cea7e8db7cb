// fasp push: a folder to the Hugging Face Hub.
import { bytes, table } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import { planPush, pushEvents } from '../node.ts'
import { given } from './arguments.ts'
import { defineCommand } from './command.ts'
import { showProgress } from './progress.ts'

/** Of the model card, for a dry run: the front matter and what comes first. */
const CARD_LINES = 20

export default defineCommand({
  verb: 'push',
  usage: 'push <folder> <hub/id> [options]',
  summary: 'Uploads a folder that fasp wrote to the Hugging Face Hub, as one commit.',
  examples: ['fasp push smaller my-name/my-model-smaller --private'],
  async run({ options, positionals }, { done, result: give, signal }) {
    const [folder, id] = positionals
    if (positionals.length !== 2)
      throw new UsageError(`push takes a folder and a name on the Hub; got ${positionals.join(', ') || 'nothing'}.`)
    if (options.dryRun) {
      const { files, bytes: total, card = '', ...plan } = await planPush(folder, id)
      done(table([...Object.entries(files).map(([path, n]) => [path, bytes(n)]), ['all', bytes(total)]]))
      done(`\n${card.split('\n').slice(0, CARD_LINES).join('\n')}`)
      return give({ ...plan, files, bytes: total, card })
    }
    const result = await showProgress(pushEvents(folder, id, { ...given('push', options), signal }))
    done(`Pushed ${result.files.length} files, ${bytes(result.bytes)}: ${result.pullRequestUrl ?? result.url}`)
    give(result)
  },
})
