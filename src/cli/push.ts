// fasp push: a folder to the Hugging Face Hub.
import { bytes, table } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import { planPush } from '../hub/push.node.ts'
import { pushEvents } from '../node.ts'
import { defineCommand } from './command.ts'
import { OUTPUT_OPTIONS } from './process.ts'
import { showProgress } from './progress.ts'

/** Of the model card, for a dry run: the front matter and what comes first. */
const CARD_LINES = 20

export default defineCommand({
  usage: 'push <folder> <hub/id> [options]',
  summary: 'Uploads a folder that fasp wrote to the Hugging Face Hub, as one commit.',
  options: {
    private: { type: 'flag', help: 'make a new repository private' },
    revision: { type: 'text', value: 'branch', help: 'branch to push to; made if missing (default main)' },
    message: { type: 'text', value: 'text', help: 'first line of the commit message' },
    'create-pr': { type: 'flag', help: 'open a pull request' },
    'dry-run': { type: 'flag', help: 'show what would be sent; ask no server' },
    overwrite: { type: 'flag', help: 'replace files that fasp did not write' },
    ...OUTPUT_OPTIONS,
  },
  examples: ['fasp push smaller my-name/my-model-smaller --private'],
  async run({ options, positionals }, { done, result: give, signal }) {
    const [folder, id] = positionals
    if (positionals.length !== 2)
      throw new UsageError(`push takes a folder and a name on the Hub; got ${positionals.join(', ') || 'nothing'}.`)
    const { private: isPrivate, revision, message, overwrite } = options
    if (options['dry-run']) {
      const { files, bytes: total, card = '', ...plan } = await planPush(folder, id)
      done(table([...Object.entries(files).map(([path, n]) => [path, bytes(n)]), ['all', bytes(total)]]))
      done(`\n${card.split('\n').slice(0, CARD_LINES).join('\n')}`)
      return give({ ...plan, files, bytes: total, card })
    }
    const settings = {
      private: isPrivate,
      revision,
      message,
      createPullRequest: options['create-pr'],
      overwrite,
      signal,
    }
    const result = await showProgress(pushEvents(folder, id, settings))
    done(`Pushed ${result.files.length} files, ${bytes(result.bytes)}: ${result.pullRequestUrl ?? result.url}`)
    give(result)
  },
})
