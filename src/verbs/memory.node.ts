// Whether a run has the memory that its plan says it takes: running into a limit ends the process without a word, or
// makes it wait for ever for a thread.
import { availableParallelism } from 'node:os'
import { bytes } from '../base/display.ts'
import { MemoryError } from '../base/errors.ts'
import { type MemoryLimits, memoryLimits } from '../base/memory-limits.node.ts'

/** Address space of a thread of ONNX Runtime: stacks and arenas of the C library (measured with 1 to 8, x64). */
const THREAD_BYTES = 300e6

/** What takes less, of the options of a verb. */
const LESS = {
  prune: 'A lower --memory, fewer --windows and --method paper take less.',
  heal: 'A lower --memory, a smaller --seq-len and --train lora take less.',
} as const

/** What is wrong, or undefined. @param needed bytes of a run @param threads @default one for each core */
export function lacksMemory(
  verb: keyof typeof LESS,
  name: string,
  needed: number,
  threads = availableParallelism(),
  { memory, address }: MemoryLimits = memoryLimits(),
): string | undefined {
  if (memory !== undefined && needed > memory)
    return (
      `${name}: this takes about ${bytes(needed)} of memory, and this machine or container has ${bytes(memory)}. ` +
      LESS[verb]
    )
  if (!address) return undefined
  const more = Math.max(0, needed - address.resident) + threads * THREAD_BYTES
  if (more <= address.left) return undefined
  const left = `${bytes(Math.max(0, address.left))} of it are left (ulimit -v)`
  const takes = `about ${bytes(more)} of address space with --threads ${threads}, and ${left}`
  return `${name}: this takes ${takes}. Raise that limit; fewer --threads and a lower --memory take less.`
}

/** @throws MemoryError */
export function checkMemory(...of: Parameters<typeof lacksMemory>): void {
  const problem = lacksMemory(...of)
  if (problem) throw new MemoryError(problem)
}
