// Where an output goes and what may be replaced there, checked before a run and at its end; and the final swap.
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { lstat, mkdir, open, readdir, realpath, rename, rm, rmdir, stat, statfs, utimes } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve, sep } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { firstOf, isGgufFile } from '../base/display.ts'
import { OutputError, UsageError } from '../base/errors.ts'
import { attempt } from '../base/file-errors.node.ts'
import { type JsonObject, parseJsonObject } from '../base/json.ts'
import {
  type Found,
  hasState,
  OLD,
  release,
  removeLeftovers,
  tellLeftover,
  tellUnfinished,
  unfinishedIn,
  unfinishedPath,
} from '../base/unfinished.node.ts'
import { MANIFEST, STATE } from '../base/unfinished.ts'
import { openFile, readSmallFile } from '../formats/file.node.ts'
import { openGguf } from '../formats/gguf.ts'
import { OWN_KEY, OWN_MARK } from './sink.ts'

export { OWN_MARK }

/** The path behind links. @throws OutputError where a link leads nowhere */
export async function outputTarget(path: string): Promise<string> {
  const target = resolve(path)
  const there = await lstat(target).catch(() => undefined)
  if (!there) return target
  return realpath(target).catch(cause => {
    if (!there.isSymbolicLink()) return target // removed since
    throw new OutputError(`${path} is a link that leads nowhere. Choose another name, or make what it leads to.`, {
      cause,
    })
  })
}

/**
 * @param overwrite replace what an earlier run of ours wrote
 * @param inputs paths that the run reads, which must not go with what is replaced
 * @param claimed of the run itself
 * @throws OutputError where `path` exists and may not be replaced, or another run is writing it
 */
export const checkOutput = (
  path: string,
  overwrite = false,
  inputs: readonly string[] = [],
  claimed?: string,
): Promise<void> =>
  attempt(`create ${path}`, async () => {
    const target = await outputTarget(path)
    checkFree(path, target, claimed)
    await finishSwap(target)
    const found = await existing(target)
    if (!found) return
    const [kind, other] = isGgufFile(path) ? ['file', 'folder'] : ['folder', 'file']
    if (found.isDirectory() !== (kind === 'folder'))
      throw new OutputError(`${path} is a ${other}. The output is a ${kind}; choose another name.`)
    if (kind === 'file' && !found.isFile()) throw new OutputError(`${path} is no regular file. Choose another name.`)
    if (kind === 'folder' && (await readdir(target)).length === 0) return
    if (!overwrite)
      throw new OutputError(`${path} exists already. Choose another ${kind}, or replace it with --overwrite.`)
    await (kind === 'file' ? checkFile(path, target) : checkFolder(path, target))
    for (const input of inputs) await checkInput(path, target, input)
  })

/** Undefined where nothing is. */
export const existing = (path: string) =>
  stat(path).catch(error => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })

const notOurs = (path: string, mark: string, kind: string) =>
  new OutputError(
    `${path} was not written by fasp (it has no ${mark}), so --overwrite leaves it alone. Choose another ${kind}.`,
  )

async function checkFile(path: string, target: string): Promise<void> {
  const file = await openFile(target)
  const ours = await openGguf(file).then(
    ({ metadata }) => metadata.has(OWN_KEY),
    () => false,
  )
  await file.close?.()
  if (!ours) throw notOurs(path, OWN_KEY, 'file')
}

/** The kept indices of a 70 B model take some 20 MB. */
const MAX_MARK_BYTES = 256e6
/** Names that a message shows of many. */
const SHOWN = 3

async function checkFolder(path: string, target: string): Promise<void> {
  const entries = await readdir(target, { recursive: true, withFileTypes: true })
  const names = entries.map(entry => relative(target, join(entry.parentPath, entry.name)).replaceAll(sep, '/'))
  if (!names.includes(OWN_MARK)) throw notOurs(path, OWN_MARK, 'folder')
  const own = await ownFiles(target)
  const folders = new Set([...own].flatMap(name => [...name.matchAll(/\//g)].map(({ index }) => name.slice(0, index))))
  const foreign = names.filter((name, i) => !(entries[i].isDirectory() ? folders : own).has(name))
  if (foreign.length === 0) return
  throw new OutputError(
    `${path} holds what its ${OWN_MARK} does not list as written by fasp (${firstOf(foreign, SHOWN)}), ` +
      'so --overwrite leaves it alone. Move that away, or choose another folder.',
  )
}

/** A `fasp.json`: what a folder that we wrote says of itself. @throws FormatError */
export const readMark = async (path: string): Promise<JsonObject> =>
  parseJsonObject(await readSmallFile(path, MAX_MARK_BYTES), path)

async function ownFiles(folder: string): Promise<Set<string>> {
  const { files } = await readMark(join(folder, OWN_MARK))
  const names = Array.isArray(files) ? files : Object.keys(files ?? {}) // a list in older folders
  return new Set([OWN_MARK, ...names.filter(name => typeof name === 'string')])
}

async function checkInput(path: string, target: string, input: string): Promise<void> {
  const read = await realpath(input).catch(() => input) // a name on the Hub
  if (`${read}${sep}`.startsWith(`${target}${sep}`))
    throw new OutputError(
      `${path} holds ${input}, which is read, so --overwrite leaves it alone. Choose another output.`,
    )
}

/** The longest base name that stays readable in a hidden one: file systems allow 255 bytes. */
const MAX_NAME_BYTES = 200
const HASHED = /^\.[0-9a-f]{16}$/

/** What all hidden names of one output begin with. */
function hiddenName(target: string): string {
  const name = basename(target)
  const fits = Buffer.byteLength(name) <= MAX_NAME_BYTES
  return `.${fits ? name : createHash('sha256').update(name).digest('hex').slice(0, 16)}`
}

/** A new path beside `target`: `.out.<owner>.partial`. */
export const partialPath = (target: string): string => unfinishedPath(join(dirname(target), hiddenName(target)))

/** Of `target` alone. */
const unfinishedOf = (target: string, ending?: string) =>
  unfinishedIn(dirname(target), ending).filter(({ start }) => start === hiddenName(target))

function checkFree(path: string, target: string, claimed?: string): void {
  const other = unfinishedOf(target).find(one => one.owner === 'here' && one.path !== claimed)
  if (!other) return
  throw new OutputError(
    `${path} is being written by process ${other.pid}, in ${other.path}. ` +
      'Wait until it has ended, or choose another output.',
  )
}

/** Whether a run may go on from a folder's state. @throws UsageError where that is of another run; FormatError */
export type Resume = (pending: string) => Promise<unknown>

/** Of two runs that begin at the same moment each sees the other, and they try again. */
const CLAIM = { attempts: 5, ms: 100 }

/**
 * Makes the folder of which a run makes `target`. As long as it is there, and its process runs, no other run gets one.
 * @param resume takes over the newest that an earlier run has left with its state and that this does not refuse
 * @throws OutputError; what `resume` throws where it refuses all of them
 */
export const claim = (path: string, target: string, resume?: Resume): Promise<string> =>
  attempt(`create ${path}`, async () => {
    const folder = dirname(target)
    for (const { start } of unfinishedIn(folder, `.partial${OLD}`))
      if (!HASHED.test(start)) await finishSwap(join(folder, start.slice(1))).catch(() => {}) // of another output
    removeLeftovers(folder)
    const partial = partialPath(target)
    let taken = false
    for (let again = CLAIM.attempts; ; again--) {
      const state: Found | undefined = resume && !taken ? await stateFor(resume, target) : undefined
      if (state) {
        tellUnfinished(partial, 'kept')
        taken = await rename(state.path, partial).then(
          () => true,
          () => false, // another run was first
        )
      }
      if (!taken) await mkdir(partial)
      try {
        checkFree(path, target, partial)
        return partial
      } catch (error) {
        if (!taken) await rmdir(partial)
        if (again > 0) await setTimeout(Math.random() * CLAIM.ms)
        else {
          if (taken) release(partial)
          throw error
        }
      }
    }
  })

/** The newest that is not of another run. @throws what is wrong with the newest, where there is none */
async function stateFor(resume: Resume, target: string): Promise<Found | undefined> {
  const states: readonly Found[] = await statesOf(target)
  const refused: UsageError[] = []
  for (const state of states)
    try {
      await checkStill(state)
      await resume(state.path)
      return state
    } catch (error) {
      if (!existsSync(state.path)) continue // another run was first
      if (!(error instanceof UsageError)) throw error
      refused.push(error)
    }
  if (refused.length > 0) throw refused[0]
  return undefined
}

/** What earlier runs into `target` have left for others to go on from, the newest first. */
async function statesOf(target: string) {
  const found = unfinishedOf(target).filter(({ path, owner }) => owner !== 'here' && hasState(path))
  const times = await Promise.all(found.map(({ path }) => stat(join(path, STATE, MANIFEST)).catch(() => undefined)))
  const timed = found.flatMap((one, i) => (times[i] ? { ...one, time: times[i].mtimeMs } : []))
  return timed.sort((a, b) => b.time - a.time)
}

/** Milliseconds. No machine sees the processes of another that shares the folder: each touches its own more often. */
const STILL = 60_000

/** Touches what is unfinished, for machines that share the folder. */
export function keepAlive(partial: string): Disposable {
  const timer = setInterval(() => void utimes(partial, new Date(), new Date()).catch(() => {}), STILL / 4).unref()
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

/** @throws OutputError where another machine may be at it */
async function checkStill({ path, owner }: Found): Promise<void> {
  const age = Date.now() - (await stat(path)).mtimeMs
  if (owner === 'gone' || age > STILL) return
  throw new OutputError(
    `${path} is of another machine or container, and was written to ${Math.round(age / 1000)} s ago. ` +
      'If no run is at it, try again in a minute.',
  )
}

/** Whether an earlier run into `path` has left what one goes on from. @throws OutputError */
export const hasStates = async (path: string): Promise<boolean> => (await statesOf(await outputTarget(path))).length > 0

/** The folder in which this process makes `path`, while it does. @throws OutputError */
export const pendingOf = async (path: string): Promise<string | undefined> =>
  unfinishedOf(await outputTarget(path)).find(({ owner, pid }) => owner === 'here' && pid === process.pid)?.path

/** Whether a run into `path` has ended well. */
export const isWritten = (path: string): boolean => existsSync(isGgufFile(path) ? path : join(path, OWN_MARK))

/** Whether something is at `path`, or a run has begun to make it. @throws OutputError */
export async function isTaken(path: string): Promise<boolean> {
  const target = await outputTarget(path)
  return unfinishedOf(target).length > 0 || (await existing(target)) !== undefined
}

/** Tells what earlier runs into `target` have left for others to go on from. */
export async function tellStates(path: string, target: string): Promise<void> {
  for (const state of await statesOf(target))
    tellLeftover(
      `${state.path} holds what an earlier run into ${path} had done: --resume goes on from there. Or remove it.`,
    )
}

/** Removes it, as a run into `target` has ended well, but for what may be of another user or machine. */
export async function removeStates(path: string, target: string): Promise<void> {
  for (const { path: state, owner } of await statesOf(target)) {
    if (owner !== 'gone') continue
    await rm(state, { recursive: true, force: true })
    tellLeftover(`${state} is removed: it held what an earlier run into ${path} had done.`)
  }
}

/** Bytes of disk that files in a folder take. @param but a folder in it that does not count */
export async function allocatedBytes(folder: string, but: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter(one => one.isFile()).map(one => join(one.parentPath, one.name))
  const counted = files.filter(path => !path.startsWith(join(folder, but) + sep))
  const stats = await Promise.all(counted.map(path => stat(path)))
  return stats.reduce((sum, { blocks }) => sum + 512 * blocks, 0)
}

/** Keeps other runs from a file that is written again and again. @throws OutputError */
export async function claimFile(path: string): Promise<AsyncDisposable> {
  const claimed = await claim(path, await outputTarget(path))
  tellUnfinished(claimed, 'parent') // it stays empty
  return { [Symbol.asyncDispose]: () => removeParents([claimed]) }
}

/**
 * Refuses a mount point, which nothing can replace: rename says so before it sees that the target is not empty.
 * @param partial a folder of the run's own
 * @throws OutputError
 */
export async function checkMovable(path: string, target: string, partial: string): Promise<void> {
  if (!(await existing(target))?.isDirectory()) return
  const full = join(partial, 'full')
  await mkdir(join(full, 'x'), { recursive: true })
  const { code } = await rename(target, full).catch(error => error)
  await rm(full, { recursive: true })
  if (code !== 'EBUSY' && code !== 'EXDEV') return
  throw new OutputError(
    `${path} is a mount point, and cannot be put in place at once. Name a folder in it: ${join(path, 'model')}.`,
  )
}

/** Replaces a folder or file. At any moment the old or the new one can be found: see `finishSwap`. */
export async function swap(made: string, target: string, partial: string): Promise<void> {
  const old = `${partial}${OLD}`
  const replaced = (await existing(target)) !== undefined
  if (replaced) await rename(target, old)
  try {
    await rename(made, target)
    await syncFolder(dirname(target))
  } catch (error) {
    if (!(await existing(made))) await rename(target, made)
    if (replaced) await rename(old, target)
    throw error
  }
  if (replaced) await rm(old, { recursive: true, force: true }).catch(() => {}) // perhaps another user's
}

/** Ends what a run had begun that was killed in `swap`. */
async function finishSwap(target: string): Promise<void> {
  for (const { path: old } of unfinishedOf(target, `.partial${OLD}`).filter(({ owner }) => owner === 'gone')) {
    const partial = old.slice(0, -OLD.length)
    if (!(await existing(target))) {
      const whole = (await existing(partial)) ? partial : old
      await rename(whole, target)
      tellLeftover(`${target} was missing: a run was killed as it put it in place. It is back, from ${whole}.`)
    }
    if (!(await existing(partial))) await rm(old, { recursive: true, force: true })
  }
}

/** Before `path` is read. */
export async function putBack(path: string): Promise<void> {
  const missing = await stat(path).then(
    () => false,
    () => true,
  )
  if (missing) await finishSwap(resolve(path)).catch(() => {}) // whoever reads it says what is missing
}

/** What a disk says that fails; others are file systems that do not know this of folders. */
const FAILED = ['EIO', 'ENOSPC', 'EDQUOT']

/** So that names, too, are on the disk. Windows opens no folders. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path).catch(() => undefined)
  try {
    await handle?.sync()
  } catch (error) {
    if (FAILED.includes((error as NodeJS.ErrnoException).code ?? '')) throw error
  } finally {
    await handle?.close()
  }
}

/** Makes the folders above an output. @returns those that were not there, the uppermost first */
export async function makeParents(folder: string): Promise<string[]> {
  const first = await mkdir(folder, { recursive: true })
  const made = []
  for (let path = folder; first && path.length >= first.length; path = dirname(path)) made.unshift(path)
  return made
}

/** Removes folders that are empty. */
export async function removeParents(made: readonly string[]): Promise<void> {
  for (const path of [...made].reverse()) await rmdir(path).catch(() => {}) // somebody else uses it by now
}

/** Of the disk of `folder`. */
export async function freeBytes(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize
}
