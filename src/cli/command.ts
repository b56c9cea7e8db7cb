// What a command is: texts for help, options, and a function from arguments to an exit.
import type { VerbName } from '../options/verbs.ts'
import type { Arguments } from './arguments.ts'

export interface Command<V extends VerbName = VerbName> {
  /** Its options are the options of the command in the specification (src/options/verbs.ts). */
  readonly verb: V
  /** Synopsis after `fasp `. */
  readonly usage: string
  readonly summary: string
  readonly examples?: readonly string[]
  /** It takes methods, which `--help-all` lists. */
  readonly methods?: true
  run(args: Arguments<V>, context: Context): Promise<void>
}

export interface Context {
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal
  /** Prints to stdout; nothing with `--quiet` or `--json`. */
  print(text: string): void
  /** Prints what came of it; nothing with `--json`. */
  done(text: string): void
  /** Prints the result, with `--json` alone. */
  result(value: unknown): void
}

/** What an error says that is not one of ours. */
export const BUG = 'This is a bug in fasp; FASP_LOG=debug shows where.'

/** Whether V8 (arrays, WebAssembly), ONNX Runtime, C++ or the loader of libraries says that memory has run out. */
export const isNoMemory = (message: string): boolean =>
  /out of memory|allocation failed|(failed to|cannot) allocate|bad_alloc|failed to map segment|ENOMEM/i.test(message)

export const outOfMemory = (message: string): string =>
  `not enough memory (${message}). Is it limited here (ulimit -v, a container)? ` +
  'A lower --memory, fewer --windows and --threads take less.'

export const defineCommand = <V extends VerbName>(command: Command<V>): Command<V> => command
