// How much memory this process may take.
import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'

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

/** Bytes of data that a process may take beside what it is itself. */
export const roomForData = ({ memory = Number.POSITIVE_INFINITY, address }: MemoryLimits = memoryLimits()): number =>
  Math.min(totalmem(), memory, address ? address.left : Number.POSITIVE_INFINITY)
