// Paths that a run must not leave behind. A program that ends the process by force (cli/cli.ts) listens to the channel
// and removes them. Names say whose the paths are, so that the next process finds what a killed one left.
import { createHash, randomUUID } from 'node:crypto'
import { channel } from 'node:diagnostics_channel'
import { existsSync, lstatSync, readdirSync, readFileSync, readlinkSync, renameSync, rmSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { OutputError } from './errors.ts'
import { MANIFEST, STATE } from './unfinished.ts'

/** Name of the channel (nodejs.org/api/diagnostics_channel.html). Its messages are `Unfinished`. */
export const UNFINISHED = 'fasp:unfinished'
/** Name of the channel of what was found of others. Its messages are texts for people. */
export const LEFTOVERS = 'fasp:leftovers'

export interface Unfinished {
  readonly path: string
  /** To remove with all in it; to remove if empty; a state for the same command; a state for `--resume`; to keep. */
  readonly state: 'temporary' | 'parent' | 'resumable' | 'saved' | 'kept'
}

/** Says so before `path` is made, or that it is to stay. */
export const tellUnfinished = (path: string, state: Unfinished['state']): void =>
  channel(UNFINISHED).publish({ path, state } satisfies Unfinished)

export const tellLeftover = (text: string): void => channel(LEFTOVERS).publish(text)

const ENDING = '.partial'
/** After it: what gave way to it, from then until it is in its place. */
export const OLD = '.old'

/** Whether a run can go on from what another has left in `path`. */
export const hasState = (path: string): boolean => existsSync(join(path, STATE, MANIFEST))

/** A new path for something temporary that begins with `start`. It is told. */
export function unfinishedPath(start: string): string {
  const path = `${start}.${newOwner()}${ENDING}`
  tellUnfinished(path, 'temporary')
  return path
}

const orElse = <T>(other: T, get: () => T): T => {
  try {
    return get()
  } catch {
    return other
  }
}

/** Where process ids mean something: this machine, under Linux this boot and container. Folders may be shared. */
const machine = (): string => {
  const boot = orElse('', () => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8'))
  const container = orElse('', () => readlinkSync('/proc/self/ns/pid'))
  return createHash('sha256').update(`${hostname()} ${boot} ${container}`).digest('hex').slice(0, 8)
}

/** When a process began (proc(5)): a later process may have its number. Undefined where that is not visible. */
const started = (pid: number): string | undefined => {
  const stat = orElse('', () => readFileSync(`/proc/${pid}/stat`, 'utf8'))
  const [state, ...fields] = stat.split(') ').at(-1)!.split(' ')
  return state === 'Z' ? 'ended' : fields[18]
}

/** Part of a name: this process, and a number of its own. */
export const newOwner = (pid = process.pid): string =>
  `${machine()}-${pid}-${started(pid) ?? ''}-${randomUUID().slice(0, 8)}`

/** No process has it. */
const NOBODY = 2 ** 31 - 1

/** Leaves to the next run what can be gone on from. */
export function release(path: string): void {
  const [, start] = OWNED.exec(path.slice(0, -ENDING.length))!
  const released = `${start}.${newOwner(NOBODY)}${ENDING}`
  tellUnfinished(released, 'kept')
  renameSync(path, released)
}

const OWNED = /^(.+)\.([0-9a-f]{8})-(\d+)-(\d*)-[0-9a-f]{8}$/

export interface Found {
  readonly path: string
  /** Its name before the owner. */
  readonly start: string
  readonly pid: number
  /** Whether that process runs; of another user's or machine's that is not for us to say. */
  readonly owner: 'here' | 'gone' | 'elsewhere'
}

/** What bears an owner and `ending` in `folder`. */
export function unfinishedIn(folder: string, ending = ENDING): Found[] {
  const names = orElse<string[]>([], () => readdirSync(folder)).filter(name => name.endsWith(ending))
  const here = machine()
  return names.flatMap((name): Found[] => {
    const [found, start, where, number, since] = OWNED.exec(name.slice(0, -ending.length)) ?? []
    if (found === undefined) return []
    const path = join(folder, name)
    const pid = Number(number)
    if (where === here && runs(pid, since)) return [{ path, start, pid, owner: 'here' }]
    // In a folder of another user, names could become links while it is removed.
    const ours = where === here && orElse(-1, () => lstatSync(path).uid) === (process.geteuid?.() ?? 0)
    return [{ path, start, pid, owner: ours ? 'gone' : 'elsewhere' }]
  })
}

function runs(pid: number, since: string): boolean {
  try {
    process.kill(pid, 0) // sends nothing
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  return [since, undefined].includes(started(pid))
}

/** Removes from `folder` what processes that ended left unfinished; reports it, and what it may not remove. */
export function removeLeftovers(folder: string): void {
  for (const { path, owner } of unfinishedIn(folder)) {
    if (owner === 'here' || hasState(path) || existsSync(`${path}${OLD}`)) continue
    try {
      if (owner === 'gone') rmSync(path, { recursive: true, force: true, maxRetries: 3 })
      tellLeftover(`${path} ${owner === 'gone' ? 'is removed: a run that was killed had left it.' : FOREIGN}`)
    } catch {} // it cannot be removed, as is said where that keeps a run from its work
  }
}

const FOREIGN =
  'is of another user, machine or container, or from before a restart. Unless a run is still writing it, remove it.'

/** Makes a folder below TMPDIR; who asks for it removes it. @throws OutputError */
export async function temporaryFolder(start: string): Promise<string> {
  removeLeftovers(tmpdir())
  const folder = unfinishedPath(join(tmpdir(), start))
  await mkdir(folder, { mode: 0o700 }).catch(cause => {
    const problem = `cannot make a temporary folder in ${tmpdir()} (${cause.code})`
    throw new OutputError(`${problem}. Set TMPDIR to a folder that you may write to.`, { cause })
  })
  return folder
}
