// Runs a job of a comparison in a process of its own (child.node.ts).
import { fork } from 'node:child_process'
import { on, once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { RunError, UsageError } from '../base/errors.ts'
import type { Progress } from '../base/events.ts'
import type { Run } from '../report/result-file.ts'
import { ABORT, type Job, type Message } from './job.ts'

/** As built. */
const CHILD = fileURLToPath(new URL('./compare-child.js', import.meta.url))

/** @throws RunError with the child's message, or that it died; UsageError where the child's was one; the signal's reason */
export async function* runInProcess(job: Job, signal?: AbortSignal): Progress<Run> {
  signal?.throwIfAborted()
  const child = fork(CHILD, {
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const ended = once(child, 'exit') as Promise<[code: number | null, signal: NodeJS.Signals | null]>
  const messages = on(child, 'message', { close: ['disconnect'] })
  const abort = () => child.connected && child.send(ABORT)
  signal?.addEventListener('abort', abort)
  try {
    child.send(job)
    for await (const [message] of messages as AsyncIterable<[Message]>) {
      if (message.type === 'event') yield message.event
      else if (message.type === 'run') return message.run
      else {
        signal?.throwIfAborted()
        throw message.code === 'USAGE' ? new UsageError(message.message) : new RunError(message.message)
      }
    }
    signal?.throwIfAborted()
    const [code, died] = await ended
    throw new RunError(`its process ended (${died ?? `exit code ${code}`}). ${died === 'SIGKILL' ? MEMORY : DEBUG}`)
  } finally {
    signal?.removeEventListener('abort', abort)
    if (child.connected) child.disconnect() // a caller that stopped listening
    await ended
  }
}

const MEMORY = 'Was the memory full? A lower --memory and fewer --windows take less.'
const DEBUG = 'FASP_LOG=debug may show why.'
