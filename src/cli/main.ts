// The worker of the `fasp` binary (cli.ts): finds the command, loads only its code, turns errors into one line and an exit code.
import { subscribe } from 'node:diagnostics_channel'
import { parentPort, workerData } from 'node:worker_threads'
import { editDistance } from '../display.ts'
import { FaspError, UsageError } from '../errors.ts'
import { FETCHING } from '../onnxruntime.node.ts'
import { UNFINISHED } from '../unfinished.node.ts'
import { VERSION } from '../version.ts'
import { parseArguments } from './arguments.ts'
import type { Terminals, Word } from './cli.ts'
import { BUG } from './command.ts'
import { COMMANDS } from './commands.ts'
import { commandHelp } from './help.ts'

const HELP = `fasp ${VERSION}: makes language models smaller and faster by structured pruning

Usage: fasp <command> [options]

Commands:
${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}`)
  .join('\n')}

fasp <command> --help shows its options, --help-all those that few need, too.
FASP_LOG=debug shows stack traces.
`

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(HELP)
    return name === undefined ? 2 : 0
  }
  if (name === '--version' || name === '-v') {
    process.stdout.write(`${VERSION}\n`)
    return 0
  }
  try {
    if (!Object.hasOwn(COMMANDS, name))
      throw new UsageError(`unknown command "${name}".${suggestion(name)} See fasp --help.`)
    const command = (await COMMANDS[name].load()).default
    const parsed = parseArguments(rest, command.options)
    const { help, 'help-all': helpAll } = parsed.options
    if (help || helpAll) {
      process.stdout.write(commandHelp(command, helpAll === true))
      return 0
    }
    await command.run(parsed, { signal: controller.signal, print: text => void process.stdout.write(`${text}\n`) })
    return 0
  } catch (error) {
    return report(error)
  }
}

class Interrupted extends Error {}

const controller = new AbortController()

function report(error: unknown): number {
  if (error instanceof Interrupted) return 130 // the main thread says so
  const message = error instanceof Error ? error.message : String(error)
  const noMemory = NO_MEMORY.test(message) && !(error instanceof FaspError)
  process.stderr.write(`fasp: ${oneLine(noMemory ? `not enough memory (${message}). ${MORE_MEMORY}` : message)}\n`)
  if (process.env.FASP_LOG === 'debug') console.error(error)
  else if (!(error instanceof FaspError || noMemory)) process.stderr.write(`${BUG}\n`)
  return error instanceof UsageError ? 2 : 1
}

/** What V8 says, of arrays and of WebAssembly. */
const NO_MEMORY = /out of memory|allocation failed/i
const MORE_MEMORY = 'Is it limited here (ulimit -v, a container)? A lower --memory and fewer --windows take less.'

/** Names in a file may hold line breaks, or codes that steer the terminal. */
const oneLine = (message: string): string => message.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ')

function suggestion(name: string): string {
  const near = Object.keys(COMMANDS).find(command => editDistance(command, name) <= 2)
  return near ? ` Did you mean ${near}?` : ''
}

// The streams of a worker do not know where they lead.
const { stdout, stderr } = workerData as Terminals
Object.assign(process.stdout, stdout)
Object.assign(process.stderr, stderr)
subscribe(UNFINISHED, message => parentPort!.postMessage(message))
subscribe(FETCHING, text => process.stderr.write(`${text}\n`))
parentPort!
  .on('message', (word: Word) => {
    if (word === 'abort') controller.abort(new Interrupted())
    else process.stderr.columns = word
  })
  .unref()
process.exitCode = await main(process.argv.slice(2))
