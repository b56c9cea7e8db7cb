// fasp push: a folder to the Hugging Face Hub.
import { bytes } from '../display.ts'
import { UsageError } from '../errors.ts'
import { pushEvents } from '../node.ts'
import { defineCommand } from './command.ts'
import { showProgress } from './progress.ts'

export default defineCommand({
  usage: 'push <folder> <hub/id> [options]',
  summary: 'Uploads a folder that fasp wrote to the Hugging Face Hub, as one commit.',
  options: {
    private: { type: 'flag', help: 'make a new repository private' },
    revision: { type: 'text', value: 'branch', help: 'branch to push to; made if missing (default main)' },
    message: { type: 'text', value: 'text', help: 'first line of the commit message' },
    'create-pr': { type: 'flag', help: 'open a pull request' },
    overwrite: { type: 'flag', help: 'replace files that fasp did not write' },
    json: { type: 'flag', help: 'print the result as JSON, last line of stdout' },
  },
  examples: ['fasp push smaller my-name/my-model-smaller --private'],
  async run({ options, positionals }, { print, signal }) {
    const [folder, id] = positionals
    if (positionals.length !== 2)
      throw new UsageError(`push takes a folder and a name on the Hub; got ${positionals.join(', ') || 'nothing'}.`)
    const { private: isPrivate, revision, message, overwrite, json } = options
    const settings = {
      private: isPrivate,
      revision,
      message,
      createPullRequest: options['create-pr'],
      overwrite,
      signal,
    }
    const result = await showProgress(pushEvents(folder, id, settings))
    print(`Pushed ${result.files.length} files, ${bytes(result.bytes)}: ${result.pullRequestUrl ?? result.url}`)
    if (json) print(JSON.stringify(result))
  },
})
