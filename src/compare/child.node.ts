// A run of a comparison as a process of its own, started by process.node.ts: its peak memory is its own, and where it
// dies the others go on. The job comes as the first message; progress and the run go back. Without its parent it ends.
import { FaspError } from '../base/errors.ts'
import { ABORT, type Job, type Message } from './job.ts'
import { runJob } from './run-job.node.ts'

const controller = new AbortController()
const send = (message: Message) =>
  new Promise<void>(resolve => {
    process.send!(message, undefined, undefined, () => resolve())
  })

async function work(job: Job): Promise<void> {
  const events = runJob(job, controller.signal)
  try {
    for (;;) {
      const step = await events.next()
      if (step.done) return await send({ type: 'run', run: step.value })
      const { value: event } = step
      if (event.type !== 'selected' && event.type !== 'windows') await send({ type: 'event', event }) // much to send
    }
  } catch (error) {
    if (process.env.FASP_LOG === 'debug') console.error(error)
    const message = error instanceof Error ? error.message : String(error)
    await send({ type: 'error', message, code: error instanceof FaspError ? error.code : undefined })
  } finally {
    process.disconnect()
  }
}

// Ctrl-C and a closed terminal reach parent and child: the parent says what happens.
for (const signal of ['SIGINT', 'SIGHUP']) process.on(signal, () => {})
process.on('disconnect', () => process.exit())
process.on('message', message => {
  if (message === ABORT) controller.abort()
  else void work(message as Job)
})
