// Runs of the page that were stopped, on the browser's disk: listed, and removed. No tab is at them.
import { UsageError } from '../src/base/errors.ts'
import type { LocalState, StoppedOrder } from '../src/page/protocol.ts'
import { Disk, folder, hasDisk } from './disk.ts'
import { bytesIn, layersDone, namesIn, noteIn } from './notes.ts'

/** The worker of a page that was just left may hold its lock for a moment. */
const LEFT_MS = 1000

/** The newest first. */
export async function stoppedRuns(): Promise<LocalState> {
  if (!(await hasDisk())) return { stopped: [] }
  const all = await folder()
  const found = await Promise.all((await namesIn(all)).map(id => runIn(all, id)))
  return { stopped: found.flat().sort((a, b) => b.kept!.begun - a.kept!.begun) }
}

async function runIn(all: FileSystemDirectoryHandle, id: string): Promise<StoppedOrder[]> {
  const directory = await all.getDirectoryHandle(id).catch(() => undefined)
  const note = directory && (await noteIn(directory))
  if (!note || !(await isLeft(id))) return []
  const { name, settings, texts, origin, begun, layers, files } = note
  const modelBytes = files.reduce((sum, { size }) => sum + size, 0)
  const kept = { origin, begun, layers, modelBytes, done: await layersDone(directory), bytes: await bytesIn(directory) }
  return [{ id, model: name, output: '', settings: { ...settings, texts }, kept }]
}

/** Whether no worker has it. */
const isLeft = (id: string): Promise<boolean> =>
  navigator.locks.request(id, { mode: 'shared', signal: AbortSignal.timeout(LEFT_MS) }, () => true).catch(() => false)

/** @throws UsageError where another tab has it */
export async function discardRun(id: string): Promise<LocalState> {
  await (await takeRun(id)).remove()
  return stoppedRuns()
}

/** Takes it from all other tabs. @throws UsageError where one has it, or it is gone */
export async function takeRun(id: string): Promise<Disk> {
  const disk = await Disk.reopen(id)
  if (!disk) throw new UsageError('this run is no longer there, or another tab is at it. Load the page again.')
  return disk
}
