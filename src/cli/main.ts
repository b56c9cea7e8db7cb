// The worker of the `fasp` binary (cli.ts): finds the command, loads only its code, turns errors into one line and an exit code.
import { subscribe } from 'node:diagnostics_channel'
import { parentPort, workerData } from 'node:worker_threads'
import { oneLine } from '../display.ts'
import { didYouMean, FaspError, notOneOf, UsageError } from '../errors.ts'
import { HEARTBEAT } from '../group/heartbeat.ts'
import { refuseSeveral } from '../group/open.node.ts'
import { FETCHING } from '../onnxruntime.node.ts'
import { LEFTOVERS, UNFINISHED } from '../unfinished.node.ts'
import { VERSION } from '../version.ts'
import { type Parsed, parseArguments } from './arguments.ts'
import type { Terminals, Word } from './cli.ts'
import { BUG, isNoMemory, outOfMemory } from './command.ts'
import { COMMANDS } from './commands.ts'
import { completion, SHELLS } from './completion.ts'
import { AUTO, type OUTPUT_OPTIONS, paint } from './environment.ts'
import { commandHelp } from './help.ts'
import { showNoticesAlone } from './progress.ts'

const HELP = `fasp ${VERSION}: makes language models smaller and faster by structured pruning

Usage: fasp <command> [options]

Commands:
${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  ${name.padEnd(10)}${summary}`)
  .join('\n')}

fasp <command> --help shows its options, --help-all those that few need, too.
fasp completion ${SHELLS.join('|')} prints a script that completes all of them.
FASP_LOG=debug shows stack traces.
`

const COMPLETION_HELP = `fasp completion ${SHELLS.join('|')}

Prints a script that completes commands, options and their values. For bash, in
~/.bashrc: source <(fasp completion bash)
`

async function main(args: readonly string[]): Promise<number> {
  const [first, ...others] = args
  const [name, ...rest] = first === 'help' && others.length > 0 ? [...others, '--help'] : args
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(HELP)
    return name === undefined ? 2 : 0
  }
  if (name === 'version' || name === '--version' || name === '-v' || name === '-V') {
    process.stdout.write(`${VERSION}\n`)
    return 0
  }
  try {
    if (name === 'completion') {
      if (!rest[0] || /^(-h|--help(-all)?)$/.test(rest[0])) {
        process.stdout.write(COMPLETION_HELP)
        return rest[0] ? 0 : 2
      }
      const shell = SHELLS.find(one => one === rest[0])
      if (!shell) throw notOneOf('the shell', rest[0], SHELLS)
      const loaded = Object.entries(COMMANDS).map(async ([of, { load }]) => [of, (await load()).default] as const)
      write(completion(shell, Object.fromEntries(await Promise.all(loaded))).trimEnd())
      return 0
    }
    if (!Object.hasOwn(COMMANDS, name))
      throw new UsageError(`unknown command "${name}".${didYouMean(name, Object.keys(COMMANDS))} See fasp --help.`)
    if (!['prune', 'heal'].includes(name)) refuseSeveral(`fasp ${name}`)
    const command = (await COMMANDS[name].load()).default
    const parsed = parseArguments(rest, command.options)
    const { help, 'help-all': helpAll } = parsed.options
    if (help || helpAll) {
      process.stdout.write(commandHelp(command, helpAll === true))
      return 0
    }
    const { json, quiet } = parsed.options as Parsed<typeof OUTPUT_OPTIONS>
    if (quiet) showNoticesAlone()
    const { device } = parsed.options
    const options =
      device === AUTO
        ? { ...parsed.options, device: await (await import('./device.ts')).deviceOf(parsed.options, controller.signal) }
        : parsed.options
    await command.run(
      { ...parsed, options },
      {
        signal: controller.signal,
        print: text => json || quiet || write(text),
        done: text => json || write(text),
        result: value => json && writeJson(value, json === 'full'),
      },
    )
    return 0
  } catch (error) {
    return report(
      error,
      rest.some(arg => /^--json(=|$)/.test(arg)),
    )
  }
}

const write = (text: string) => process.stdout.write(`${text}\n`)

let documents = 0

/** The one JSON document of stdout: a result, or where there is none an error. @param full indices of what is kept, too, which are most of its bytes */
function writeJson(value: unknown, full: boolean): void {
  if (documents++ === 0) write(JSON.stringify(value, (key, part) => (key === 'kept' && !full ? undefined : part)))
}

class Interrupted extends Error {}

const controller = new AbortController()

function report(error: unknown, json: boolean): number {
  if (error instanceof Interrupted) return 130 // the main thread says so
  const message = error instanceof Error ? error.message : String(error)
  const own = error instanceof FaspError
  const noMemory = !own && isNoMemory(message)
  const bySystem = !own && !noMemory && (error as NodeJS.ErrnoException).syscall !== undefined
  const said = oneLine(
    noMemory
      ? outOfMemory(message)
      : bySystem
        ? `${message}. The system says so; run again when that is mended.`
        : message,
  )
  process.stderr.write(`${paint(process.stderr, 'red', 'fasp:')} ${said}\n`)
  const code = own ? error.code : noMemory ? 'MEMORY' : bySystem ? 'SYSTEM' : 'BUG'
  if (json) writeJson({ error: { code, message: said } }, true)
  if (process.env.FASP_LOG === 'debug') console.error(error)
  else if (!(own || noMemory || bySystem)) process.stderr.write(`${BUG}\n`)
  return error instanceof UsageError ? 2 : 1
}

// The streams of a worker do not know where they lead.
const { stdout, stderr } = workerData as Terminals
Object.assign(process.stdout, stdout)
Object.assign(process.stderr, stderr)
for (const name of [UNFINISHED, HEARTBEAT]) subscribe(name, message => parentPort!.postMessage(message))
for (const name of [FETCHING, LEFTOVERS]) subscribe(name, text => process.stderr.write(`${oneLine(String(text))}\n`))
parentPort!
  .on('message', (word: Word) => {
    if (word === 'abort') controller.abort(new Interrupted())
    else process.stderr.columns = word
  })
  .unref()
process.exitCode = await main(process.argv.slice(2))
