// The worker of the `fasp` binary (cli.ts): runs the command line that the process got.
import { subscribe } from 'node:diagnostics_channel'
import { parentPort, workerData } from 'node:worker_threads'
import { UNFINISHED } from '../base/unfinished.node.ts'
import type { Terminals, Word } from './cli.ts'
import { Interrupted, runCommand } from './run.ts'

const controller = new AbortController()

// The streams of a worker do not know where they lead.
const { stdout, stderr } = workerData as Terminals
Object.assign(process.stdout, stdout)
Object.assign(process.stderr, stderr)
subscribe(UNFINISHED, message => parentPort!.postMessage(message))
parentPort!
  .on('message', (word: Word) => {
    if (word === 'abort') controller.abort(new Interrupted())
    else process.stderr.columns = word
  })
  .unref()
process.exitCode = await runCommand(process.argv.slice(2), controller.signal)
