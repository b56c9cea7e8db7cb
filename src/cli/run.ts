// A command line, run in this process: finds the command, loads its code, turns errors into a line and an exit code.
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { oneLine } from '../base/display.ts'
import { didYouMean, FaspError, notOneOf, UsageError } from '../base/errors.ts'
import { FETCHING } from '../base/events.ts'
import { refuseSeveral } from '../base/launcher.ts'
import { LEFTOVERS } from '../base/unfinished.node.ts'
import { VERSION } from '../base/version.ts'
import { AUTO } from '../options/spec.ts'
import { commandedBy } from '../options/verbs.ts'
import { type Arguments, parseArguments } from './arguments.ts'
import { BUG, isNoMemory, outOfMemory } from './command.ts'
import { COMMANDS } from './commands.ts'
import { completion, SHELLS } from './completion.ts'
import { commandHelp } from './help.ts'
import { paint } from './process.ts'
import { showProgressLines } from './progress.ts'

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

/** The reason of an abort by the user: whoever aborts says so. */
export class Interrupted extends Error {}

/**
 * Runs one command line; results go to stdout, everything else to stderr.
 * @returns 0 done, 1 failed, 2 wrong usage, 130 interrupted
 * @example await runCommand(['inspect', 'model'], new AbortController().signal)
 */
export async function runCommand(args: readonly string[], signal: AbortSignal): Promise<number> {
  const say = (text: unknown) => void process.stderr.write(`${oneLine(String(text))}\n`)
  for (const name of [FETCHING, LEFTOVERS]) subscribe(name, say)
  let documents = 0 // stdout gets one: a result, or where there is none an error
  const printOnce: PrintJson = (value, full) => documents++ === 0 && printJson(value, full)
  const asked = args.slice(1).some(arg => /^--json(=|$)/.test(arg))
  try {
    return await commandOf(args, signal, printOnce)
  } catch (error) {
    return report(error, asked ? printOnce : undefined)
  } finally {
    for (const name of [FETCHING, LEFTOVERS]) unsubscribe(name, say)
  }
}

async function commandOf(args: readonly string[], signal: AbortSignal, printOnce: PrintJson): Promise<number> {
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
  if (name === 'completion') return printCompletion(rest[0])
  if (!Object.hasOwn(COMMANDS, name))
    throw new UsageError(`unknown command "${name}".${didYouMean(name, Object.keys(COMMANDS))} See fasp --help.`)
  if (!['prune', 'heal'].includes(name)) refuseSeveral(`fasp ${name}`)
  const command = (await COMMANDS[name].load()).default
  const { positionals, options } = parseArguments(rest, commandedBy(command.verb))
  const { help, helpAll, json, quiet, device } = options
  if (help || helpAll) {
    process.stdout.write(commandHelp(command, helpAll === true))
    return 0
  }
  showProgressLines(!quiet)
  if (device === AUTO) options.device = await (await import('./device.ts')).deviceOf(options)
  await command.run({ options, positionals } as Arguments, {
    signal,
    print: text => json || quiet || write(text),
    done: text => json || write(text),
    result: value => json && printOnce(value, json === 'full'),
  })
  return 0
}

async function printCompletion(name: string | undefined): Promise<number> {
  if (!name || /^(-h|--help(-all)?)$/.test(name)) {
    process.stdout.write(COMPLETION_HELP)
    return name ? 0 : 2
  }
  const shell = SHELLS.find(one => one === name)
  if (!shell) throw notOneOf('the shell', name, SHELLS)
  const loaded = Object.entries(COMMANDS).map(async ([of, { load }]) => [of, (await load()).default] as const)
  write(completion(shell, Object.fromEntries(await Promise.all(loaded))).trimEnd())
  return 0
}

const write = (text: string) => process.stdout.write(`${text}\n`)

/** Prints a JSON document. @param full whether with the indices of what is kept, which are most of its bytes */
type PrintJson = (value: unknown, full: boolean) => unknown
const printJson: PrintJson = (value, full) =>
  write(JSON.stringify(value, (key, part) => (key === 'kept' && !full ? undefined : part)))

/** @param print where JSON was asked for */
function report(error: unknown, print?: PrintJson): number {
  if (error instanceof Interrupted) return 130 // whoever aborted says so
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
  print?.({ error: { code, message: said } }, true)
  if (process.env.FASP_LOG === 'debug') console.error(error)
  else if (!(own || noMemory || bySystem)) process.stderr.write(`${BUG}\n`)
  return error instanceof UsageError ? 2 : 1
}
