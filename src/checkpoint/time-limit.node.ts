// A time limit for synchronous work. V8's watchdog ends loops and regular expressions, too.
import { createContext, Script } from 'node:vm'
import type { Within } from './checkpoint.ts'

/** Milliseconds that the watchdog can count. */
const MAX_MILLISECONDS = 2 ** 31 - 1

const call = new Script('work()')
const context = createContext({})

/** A checkpoint's `within`. A call costs some 40 µs. */
export const within: Within = (seconds, work, tooLate) => {
  context.work = work
  try {
    return call.runInContext(context, { timeout: Math.min(Math.ceil(seconds * 1000), MAX_MILLISECONDS) })
  } catch (error) {
    if ((error as NodeJS.ErrnoException | null)?.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw tooLate()
    throw error
  } finally {
    context.work = undefined
  }
}
