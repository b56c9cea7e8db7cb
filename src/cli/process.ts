// Small things that several commands need of the process.
import { styleText } from 'node:util'
import { didYouMean, UsageError } from '../base/errors.ts'
import { DEVICES, type Device } from '../engine/device.ts'
import { type EngineOptions, PRECISIONS } from '../engine/engine.ts'
import { checkRange } from '../options/options.ts'
import type { Group } from '../ranks/group.ts'
import { openGroup } from '../ranks/open.node.ts'
import type { TerminalStyle } from '../report/terminal.ts'
import { type ExportRequest, TARGETS, type TargetName } from '../write/targets.ts'
import { type OptionSpec, type Parsed, SECONDS } from './arguments.ts'

export { peakMemory } from '../report/machine.node.ts'

/** Stands for a device, until one is chosen (device.ts). */
export const AUTO = 'auto'

/** Options of commands with a result. */
export const OUTPUT_OPTIONS = {
  json: {
    type: 'text',
    choices: ['brief', 'full'],
    bare: 'brief',
    help: 'print JSON and nothing else; full: kept indices, too',
  },
  quiet: { type: 'flag', short: 'q', help: 'no tables, no progress' },
} as const satisfies Record<string, OptionSpec>

/** Options of commands that go on from where they were stopped. */
export const RESUME_OPTIONS = {
  resume: { type: 'flag', help: 'go on from what a run that was stopped had done' },
  'save-every': {
    type: 'number',
    value: 'seconds',
    rare: true,
    help: 'at least between savings of what --resume needs (default 15)',
  },
} as const satisfies Record<string, OptionSpec>

/** Options of commands that several processes work on. */
export const MPI_OPTIONS = {
  mpi: {
    type: 'text',
    rare: true,
    value: 'library',
    help: 'of the processes that mpirun or srun started: auto (default), off, path',
  },
  read: {
    type: 'text',
    choices: ['each', 'root'],
    rare: true,
    help: 'models: by each process (default), or by the root, which sends them',
  },
  'mpi-timeout': {
    type: 'number',
    units: SECONDS,
    value: '10m',
    rare: true,
    help: 'for a rank without a sign of life, then all end (default 1h; 0: no limit)',
  },
} as const satisfies Record<string, OptionSpec>

/** The processes that a launcher has started, or this one alone. @throws UsageError as `openGroup` */
export function groupOf({ mpi, 'mpi-timeout': seconds }: Parsed<typeof MPI_OPTIONS>, signal: AbortSignal): Group {
  if (seconds !== undefined) checkRange('mpi-timeout', seconds, 0, 1e6, false)
  return openGroup(mpi, { signal, timeout: seconds === undefined ? undefined : 1000 * seconds })
}

/** Of every command that runs a model. */
export const ENGINE_OPTIONS = {
  device: {
    type: 'text',
    choices: [...DEVICES, AUTO],
    help: 'where to run (default cpu; auto: a GPU, if any)',
  },
  'device-memory': {
    type: 'number',
    value: 'GiB',
    rare: true,
    help: 'of a GPU, for what stays there (default 1)',
  },
  provider: { type: 'text', value: 'path', rare: true, help: 'of a GPU’s ONNX Runtime provider (docs/devices.md)' },
  threads: { type: 'integer', help: 'threads (default: one a physical core)' },
} as const satisfies Record<string, OptionSpec>

/** Of commands that prune, too. */
export const LINALG_OPTIONS = {
  blas: { type: 'text', value: 'library', rare: true, help: 'BLAS for Gram matrices, solves: auto, none, path' },
} as const satisfies Record<string, OptionSpec>

export type EngineArguments = Parsed<typeof ENGINE_OPTIONS & typeof LINALG_OPTIONS>

/** The engine's among other options. */
export const engineOptions = ({ device, threads, blas, ...more }: EngineArguments): EngineOptions => ({
  device: device as Device | undefined, // main.ts has put one in the place of AUTO
  deviceMemory: more['device-memory'],
  provider: more.provider,
  threads,
  blas,
})

/** Options of commands that prune. */
export const PRUNING_OPTIONS = {
  ...ENGINE_OPTIONS,
  ...LINALG_OPTIONS,
  memory: { type: 'number', value: 'GiB', rare: true, help: 'memory for activations, then disk (default 1)' },
  products: {
    type: 'text',
    choices: PRECISIONS,
    rare: true,
    help: 'precision (default float32; docs/devices.md)',
  },
} as const satisfies Record<string, OptionSpec>

/** `--to gguf` or `--to gguf:q8_0`. @throws UsageError for an unknown target */
export function exportRequest(text: string): ExportRequest {
  const [to, type] = text.split(':')
  if (!Object.hasOwn(TARGETS, to))
    throw new UsageError(
      `--to is "${text}"; it must be one of ${Object.keys(TARGETS).join(', ')}, or with a type, gguf:q8_0.${didYouMean(to, Object.keys(TARGETS))}`,
    )
  return { to: to as TargetName, dtype: type }
}

/** The one positional argument. @throws UsageError */
export function modelArgument(positionals: readonly string[]): string {
  if (positionals.length === 1) return positionals[0]
  throw new UsageError(
    positionals.length === 0
      ? 'no model. Give a Hugging Face model folder, a .gguf file, or the name of a model on the Hub (org/name).'
      : `one model at a time; got ${positionals.length}: ${positionals.join(', ')}.`,
  )
}

/** In colour, where the stream shows it. */
export const paint = (stream: NodeJS.WriteStream, format: 'red' | 'dim' | 'bold', text: string): string =>
  terminalStyle(stream).bold ? styleText(format, text, { validateStream: false }) : text

/** What a stream can show: no blocks and no codes where it is no terminal, or a dumb one; no bold with `NO_COLOR` (no-color.org). */
export function terminalStyle(stream: NodeJS.WriteStream): TerminalStyle {
  const blocks = stream.isTTY === true && process.env.TERM !== 'dumb'
  return { columns: (blocks && stream.columns) || 80, blocks, bold: blocks && !process.env.NO_COLOR }
}
