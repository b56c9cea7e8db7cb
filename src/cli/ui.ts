// fasp ui: the page over the engine of this machine.
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { UsageError } from '../base/errors.ts'
import { checkRange } from '../options/options.ts'
import { openUi } from '../page/server.node.ts'
import { defineCommand } from './command.ts'
import { ENGINE_OPTIONS, engineOptions, LINALG_OPTIONS, RESUME_OPTIONS } from './process.ts'

const PAGE = fileURLToPath(new URL('./page', import.meta.url))
const TINY = fileURLToPath(new URL('../assets/tiny-llama', import.meta.url))
/** Of what a run needs that goes on after a crash. */
const folder = () => join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'fasp', 'ui')

export default defineCommand({
  usage: 'ui [options]',
  summary: 'Serves the page that prunes, for models on this machine and to this machine alone.',
  options: {
    port: { type: 'integer', help: 'of 127.0.0.1 (default: a free one)' },
    ...ENGINE_OPTIONS,
    ...LINALG_OPTIONS,
    'save-every': {
      ...RESUME_OPTIONS['save-every'],
      help: 'at least between savings of what a job goes on from (default 15)',
    },
  },
  examples: ['fasp ui', 'fasp ui --port 8080'],
  async run({ options, positionals }, { print, signal }) {
    if (positionals.length > 0)
      throw new UsageError(`ui takes no model; the page asks for it. Got ${positionals.join(', ')}.`)
    const { port, 'save-every': saveEvery } = options
    if (port !== undefined) checkRange('port', port, 1, 65535, true)
    if (saveEvery !== undefined) checkRange('save-every', saveEvery, 0, 1e9, false)
    await using ui = await openUi({
      ...{ port, page: PAGE, tiny: TINY, folder: folder(), saveEvery },
      engine: engineOptions(options),
    })
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
