// Small things that several commands need of the process.
import { UsageError } from '../errors.ts'

/** The one positional argument. @throws UsageError */
export function modelArgument(positionals: readonly string[]): string {
  if (positionals.length === 1) return positionals[0]
  throw new UsageError(
    positionals.length === 0
      ? 'no model. Give a Hugging Face model folder or a .gguf file.'
      : `one model at a time; got ${positionals.length}: ${positionals.join(', ')}.`,
  )
}

/** Peak resident memory of this process in bytes. */
export const peakMemory = (): number => process.resourceUsage().maxRSS * 1024
