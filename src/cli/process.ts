// Small things that several commands need of the process.
import { styleText } from 'node:util'
import { didYouMean, UsageError } from '../base/errors.ts'
import {
  type Device,
  type EngineOptions,
  type ExportRequest,
  type Group,
  openGroup,
  TARGETS,
  type TargetName,
  type TextInput,
  type VocabularyChoice,
} from '../node.ts'
import { AUTO } from '../options/spec.ts'
import type { TerminalStyle } from '../report/table.ts'

export { peakMemory } from '../report/machine.node.ts'

/** The processes that a launcher has started, or this one alone. @throws UsageError as `openGroup` */
export const groupOf = (
  { mpi, mpiTimeout }: { readonly mpi?: string; readonly mpiTimeout?: number },
  signal: AbortSignal,
): Group => openGroup(mpi, { signal, timeout: mpiTimeout === undefined ? undefined : 1000 * mpiTimeout })

export interface EngineArguments extends Omit<EngineOptions, 'device'> {
  readonly device?: Device | typeof AUTO
}

/** The engine's options among others. `runCommand` has put a device in the place of `auto`. */
export const engineOptions = ({ device, threads, blas, deviceMemory, provider }: EngineArguments): EngineOptions => ({
  device: device === AUTO ? undefined : device,
  deviceMemory,
  provider,
  threads,
  blas,
})

/** What `--vocabulary` and `--vocabulary-size` say. @throws UsageError for a size without texts */
export function vocabularyChoice({
  vocabulary: keep,
  vocabularySize: size,
}: {
  readonly vocabulary?: readonly string[]
  readonly vocabularySize?: number
}): VocabularyChoice<TextInput> | undefined {
  if (size !== undefined && !keep)
    throw new UsageError('--vocabulary-size is of the tokens of texts. Say which with --vocabulary <file>.')
  return keep && { keep, size }
}

/** `--to gguf` or `--to gguf:q8_0`. @throws UsageError for an unknown target */
export function exportRequest(text: string): ExportRequest {
  const [to, type] = text.split(':')
  if (!Object.hasOwn(TARGETS, to))
    throw new UsageError(
      `--to is "${text}"; it must be one of ${Object.keys(TARGETS).join(', ')}, or with a type, gguf:q8_0.` +
        didYouMean(to, Object.keys(TARGETS)),
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

/** What a stream can show: no blocks and codes in what is no terminal, or a dumb one; no bold with `NO_COLOR`. */
export function terminalStyle(stream: NodeJS.WriteStream): TerminalStyle {
  const blocks = stream.isTTY === true && process.env.TERM !== 'dumb'
  return { columns: (blocks && stream.columns) || 80, blocks, bold: blocks && !process.env.NO_COLOR }
}
