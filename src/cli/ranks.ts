// A command that several processes work on (MPI): only the root prints, and what fails on one is said once.
import { writeSync } from 'node:fs'
import { oneLine } from '../base/display.ts'
import { GroupError } from '../base/errors.ts'
import { LEAD_MS, PASSED_ON_MS } from '../base/launcher.ts'
import { fetchModelEvents, type Group, sendFiles } from '../node.ts'
import { showProgress } from './progress.ts'

/** Does `work` on this rank, and leaves the group in the end. @param signal of an interruption: all ranks end */
export async function onRanks(group: Group, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  const isRoot = group.rank === 0
  if (!isRoot) process.stdout.write = process.stderr.write = () => true
  try {
    await work()
    await group.barrier() // the root has more to do
  } catch (error) {
    if (signal.aborted) {
      if (!isRoot) await new Promise(resolve => setTimeout(resolve, LEAD_MS))
      throw error
    }
    if (!(await group.fail(error))) {
      const message = error instanceof Error ? error.message : `${error}`
      const who = error instanceof GroupError ? '' : `rank ${group.rank} of ${group.size}: `
      // The process ends before a worker's stream is written.
      writeSync(2, `fasp: ${who}${oneLine(message)}\n`)
      await new Promise(resolve => setTimeout(resolve, PASSED_ON_MS))
      group.abort()
    }
    await group.close()
    if (isRoot) throw error
    return
  }
  await group.close()
}

/** Where this rank reads a model, until it is disposed of. */
export interface ModelHere extends AsyncDisposable {
  readonly path: string
}

/** @param read `root`: it sends its files to the others, which need none; a name on the Hub is fetched there alone */
export async function modelHere(
  group: Group,
  name: string,
  { read, signal }: { readonly read?: string; readonly signal: AbortSignal },
): Promise<ModelHere> {
  const isRoot = group.rank === 0
  if (read !== 'root' || group.size === 1) return { path: name, [Symbol.asyncDispose]: async () => {} }
  const sent = await sendFiles(group, isRoot ? await showProgress(fetchModelEvents(name, { signal })) : undefined)
  return isRoot ? { ...sent, path: name } : sent
}
