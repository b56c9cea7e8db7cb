// Looks at this machine in a process of its own (child.node.ts): a driver that ends it, or never answers, ends that one.
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Found } from './found.ts'
import type { PROBES } from './probes.node.ts'

type Probes = typeof PROBES

/** As built. */
const CHILD = fileURLToPath(new URL('./devices-child.js', import.meta.url))
/** A driver compiles its first shader in seconds, and a machine may be busy. */
const PATIENCE_MS = 60_000

export interface ProbeOptions {
  /** Variables of the environment, beside those that this process has. */
  readonly env?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

/** @param argument of the probe @throws what aborts the signal */
export async function probe<K extends keyof Probes>(
  what: K,
  argument: Parameters<Probes[K]>[0],
  { env, signal }: ProbeOptions = {},
): Promise<Found<Awaited<ReturnType<Probes[K]>>>> {
  const options = { env: { ...process.env, ...env }, timeout: PATIENCE_MS, killSignal: 'SIGKILL', signal } as const
  return await new Promise((resolve, reject) => {
    execFile(process.execPath, [CHILD, what, argument ?? ''], options, (error, stdout) => {
      if (signal?.aborted) reject(signal.reason)
      else if (!error) resolve(JSON.parse(stdout.trimEnd().split('\n').at(-1)!))
      else if (error.killed) resolve({ problem: `no answer in ${PATIENCE_MS / 1000} s` })
      else resolve({ problem: `it ends the process (${error.signal ?? `exit code ${error.code}`})` })
    })
  })
}
