// One repository in the Hub's cache, in the layout that Python's huggingface_hub reads and writes:
//   models--org--name/refs/main                  the commit that a branch or tag was at
//   models--org--name/blobs/<checksum>           contents
//   models--org--name/snapshots/<commit>/<path>  links to them
// Source: huggingface_hub 2.4.0, file_download.py.
import { randomUUID } from 'node:crypto'
import {
  copyFile,
  link,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { attempt } from '../base/file-errors.node.ts'
import { newOwner, tellUnfinished, unfinishedIn } from '../base/unfinished.node.ts'
import type { HubEnvironment } from './environment.node.ts'
import { isCommit, type RemoteFile } from './listing.ts'
import type { RepoType } from './request.ts'

/** Ending of incomplete downloads, which `hf cache` knows. Those of running processes have their own part before it. */
const PARTIAL = '.fasp.incomplete'
/** A download of another machine that has not grown for so long belongs to a process that was killed. */
const ABANDONED_MS = 120_000

export class RepoCache {
  readonly #folder: string
  readonly #symlinks: boolean

  constructor({ cache, symlinks }: HubEnvironment, id: string, type: RepoType = 'model') {
    this.#folder = join(cache, `${type}s--${id.replace('/', '--')}`)
    this.#symlinks = symlinks
  }

  /** Folder of the files of one commit. */
  snapshot(commit: string): string {
    return join(this.#folder, 'snapshots', commit)
  }

  /** The commit that `revision` was at when it was last fetched. */
  async commit(revision: string): Promise<string | undefined> {
    if (isCommit(revision)) return revision
    const text = await readFile(join(this.#folder, 'refs', revision), 'utf8').catch(() => '')
    return isCommit(text.trim()) ? text.trim() : undefined
  }

  /** Files at the top of a snapshot whose contents are there; none where there is no snapshot. */
  async names(commit: string): Promise<Set<string>> {
    const names = await readdir(this.snapshot(commit)).catch(() => [])
    const sizes = await Promise.all(names.map(name => size(join(this.snapshot(commit), name))))
    return new Set(names.filter((_, index) => sizes[index] !== undefined))
  }

  /** Whether a snapshot has the file, in full. If only the blob is there, links to it. @throws OutputError */
  async has(commit: string, file: RemoteFile): Promise<boolean> {
    if ((await size(this.#pointer(commit, file))) === file.size) return true
    if ((await size(this.#blob(file))) !== file.size) return false
    await this.#link(commit, file)
    return true
  }

  /** Bytes of `file` that an earlier attempt has left. */
  async partialSize(file: RemoteFile): Promise<number> {
    return Math.min((await this.#leftovers(file.etag))[0]?.size ?? 0, file.size)
  }

  /**
   * A place to download to that no other process has. What an earlier attempt has left is in it.
   * @throws OutputError
   */
  async claim(file: RemoteFile): Promise<string> {
    const blob = this.#blob(file)
    const claimed = `${blob}.${newOwner()}${PARTIAL}`
    await attempt(`write to ${dirname(blob)}`, () => mkdir(dirname(blob), { recursive: true }))
    tellUnfinished(claimed, 'resumable')
    for (const { path } of await this.#leftovers(file.etag)) {
      const taken = await rename(path, claimed).catch(error => error)
      if (taken !== undefined) continue // another process was first
      await utimes(claimed, new Date(), new Date())
      break
    }
    return claimed
  }

  /** Leaves an incomplete download to the next attempt; nothing happens to a complete one. */
  async release(file: RemoteFile, claimed: string): Promise<void> {
    const released = `${this.#blob(file)}${PARTIAL}`
    tellUnfinished(released, 'resumable')
    const leave = (await size(claimed)) ? rename(claimed, released) : rm(claimed, { force: true })
    await leave.catch(() => {}) // the reason why it is incomplete matters more
  }

  /** Puts a complete download in its place. @throws OutputError */
  async keep(commit: string, file: RemoteFile, claimed: string): Promise<void> {
    await attempt(`write ${this.#blob(file)}`, () => rename(claimed, this.#blob(file)))
    await this.tidy()
    await this.#link(commit, file)
  }

  /** Removes incomplete downloads of what is there by now. */
  async tidy(): Promise<void> {
    const names = await readdir(this.#blobs).catch((): string[] => [])
    const begun = new Set(names.filter(name => name.endsWith(PARTIAL)).map(name => name.split('.')[0]))
    for (const etag of begun)
      if (names.includes(etag)) for (const { path } of await this.#leftovers(etag)) await rm(path, { force: true })
  }

  /** Notes the commit of a branch or tag. @throws OutputError */
  async note(revision: string, commit: string): Promise<void> {
    if (revision === commit || (await this.commit(revision)) === commit) return
    const path = join(this.#folder, 'refs', revision)
    const made = temporary(path)
    await attempt(`write ${path}`, async () => {
      await mkdir(dirname(path), { recursive: true })
      await writeFile(made, commit)
      await rename(made, path)
    })
  }

  /** Incomplete downloads of a blob that no process is at, the largest first. */
  async #leftovers(etag: string): Promise<{ path: string; size: number }[]> {
    const released = { path: join(this.#blobs, `${etag}${PARTIAL}`), owner: 'gone' }
    const begun = unfinishedIn(this.#blobs, PARTIAL).filter(({ start }) => start === etag)
    const found = []
    for (const { path, owner } of [released, ...begun]) {
      const info = await stat(path).catch(() => undefined)
      if (!info || owner === 'here') continue
      if (owner === 'gone' || Date.now() - info.mtimeMs > ABANDONED_MS) found.push({ path, size: info.size })
    }
    return found.sort((a, b) => b.size - a.size)
  }

  get #blobs(): string {
    return join(this.#folder, 'blobs')
  }

  #blob = ({ etag }: RemoteFile): string => join(this.#blobs, etag)

  #pointer = (commit: string, { path }: RemoteFile): string => join(this.snapshot(commit), path)

  /** A symbolic link, as Python makes it; or a hard link; or a copy. At no moment is there none. */
  async #link(commit: string, file: RemoteFile): Promise<void> {
    const blob = this.#blob(file)
    const pointer = this.#pointer(commit, file)
    const made = temporary(pointer)
    const ways = [() => link(blob, made), () => copyFile(blob, made)]
    if (this.#symlinks) ways.unshift(() => symlink(relative(dirname(made), blob), made))
    await attempt(`write ${pointer}`, async () => {
      await mkdir(dirname(pointer), { recursive: true })
      try {
        for (const way of ways) {
          const error = await way().catch(error => error)
          if (error === undefined) break
          if (way === ways.at(-1)) throw error
        }
        await rename(made, pointer)
      } finally {
        await rm(made, { force: true }) // also where both are one file already, which `rename` leaves as they are
      }
    })
  }
}

/** A name beside `path` that nobody else takes. */
const temporary = (path: string): string => `${path}.${randomUUID().slice(0, 8)}.tmp`

/** Bytes of a file, links followed. */
const size = (path: string): Promise<number | undefined> =>
  stat(path).then(
    one => (one.isFile() ? one.size : undefined),
    () => undefined,
  )
