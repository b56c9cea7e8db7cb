// fasp ui: the page over the engine of this machine.
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { UsageError } from '../base/errors.ts'
import { openUi } from '../page/server.node.ts'
import { defineCommand } from './command.ts'
import { engineOptions } from './process.ts'

const PAGE = fileURLToPath(new URL('./page', import.meta.url))
const TINY = fileURLToPath(new URL('../assets/tiny-llama', import.meta.url))
/** Where a job is noted, so that a later server goes on with it. */
const folder = () => join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'fasp', 'ui')

export default defineCommand({
  verb: 'ui',
  usage: 'ui [options]',
  summary: 'Serves the page that prunes, for models on this machine and to this machine alone.',
  examples: ['fasp ui', 'fasp ui --port 8080'],
  async run({ options, positionals }, { print, signal }) {
    if (positionals.length > 0)
      throw new UsageError(`ui takes no model; the page asks for it. Got ${positionals.join(', ')}.`)
    const { port, saveEvery } = options
    const engine = engineOptions(options)
    await using ui = await openUi({ port, page: PAGE, tiny: TINY, folder: folder(), saveEvery, engine })
    print(ui.url)
    for (const { model, output } of ui.stopped)
      print(`Stopped before its end: ${model} into ${output}. The page offers to go on.`)
    print('Open this address in a browser on this machine: it is the key, too. Ctrl-C ends the server.')
    await new Promise<void>(resolve => {
      if (signal.aborted) resolve()
      signal.addEventListener('abort', () => resolve(), { once: true })
    })
    if (ui.running()) process.stderr.write('A job was at work. Start fasp ui again: its page offers to go on.\n')
    signal.throwIfAborted()
  },
})
