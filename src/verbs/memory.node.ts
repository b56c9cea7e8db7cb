// Whether a run has the memory that its plan says it takes: where it is limited, running into the limit ends the process without a word, or
// makes it wait for ever for a thread.
import { readFileSync } from 'node:fs'
import { availableParallelism, totalmem } from 'node:os'
import { bytes } from '../base/display.ts'
import { MemoryError } from '../base/errors.ts'

/** Address space of each thread of ONNX Runtime: stacks, and arenas of the C library (measured with 1 to 8 threads, x64). */
const THREAD_BYTES = 300e6

/** What this process may take, in bytes. */
export interface MemoryLimits {
  /** Of the machine with its swap, or of the container (cgroup). @default none is known */
  readonly memory?: number
  /** What is left of the address space (`ulimit -v`), and resident already. @default no limit */
  readonly address?: { readonly left: number; readonly resident: number }
}

/** A file of /proc, which Linux has; else ''. */
function proc(name: string): string {
  try {
    return readFileSync(`/proc/${name}`, 'utf8')
  } catch {
    return ''
  }
}

/** Of `<key>: <n> kB`. */
const field = (text: string, key: string): number =>
  1024 * Number(new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(text)?.[1])

export function memoryLimits(): MemoryLimits {
  const meminfo = proc('meminfo')
  const machine = field(meminfo, 'MemTotal') + field(meminfo, 'SwapTotal')
  const container = process.constrainedMemory() || Number.NaN
  const known = [machine, container].filter(limit => limit < 2 ** 60) // no limit is a large one
  const status = proc('self/status')
  const limit = Number(/^Max address space\s+(\d+)/m.exec(proc('self/limits'))?.[1])
  return {
    memory: known.length > 0 ? Math.min(...known) : undefined,
    address: limit ? { left: limit - field(status, 'VmSize'), resident: field(status, 'VmRSS') } : undefined,
  }
}

/** What takes less, of the options of a verb. */
const LESS = {
  prune: 'A lower --memory, fewer --windows and --method paper take less.',
  heal: 'A lower --memory, a smaller --seq-len and --train lora take less.',
} as const

/** What is wrong, or undefined. @param needed bytes that all of a run takes @param threads @default one for each core */
export function lacksMemory(
  verb: keyof typeof LESS,
  name: string,
  needed: number,
  threads = availableParallelism(),
  { memory, address }: MemoryLimits = memoryLimits(),
): string | undefined {
  if (memory !== undefined && needed > memory)
    return `${name}: this takes about ${bytes(needed)} of memory, and this machine or container has ${bytes(memory)}. ${LESS[verb]}`
  if (!address) return undefined
  const more = Math.max(0, needed - address.resident) + threads * THREAD_BYTES
  if (more > address.left)
    return `${name}: this takes about ${bytes(more)} of address space with --threads ${threads}, and ${bytes(Math.max(0, address.left))} of it are left (ulimit -v). Raise that limit; fewer --threads and a lower --memory take less.`
  return undefined
}

/** Bytes of data that a process may take beside what it is itself. */
export const roomForData = ({ memory = Number.POSITIVE_INFINITY, address }: MemoryLimits = memoryLimits()): number =>
  Math.min(totalmem(), memory, address ? address.left : Number.POSITIVE_INFINITY)

/** @throws MemoryError */
export function checkMemory(...of: Parameters<typeof lacksMemory>): void {
  const problem = lacksMemory(...of)
  if (problem) throw new MemoryError(problem)
}
