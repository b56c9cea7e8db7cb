// Fetches one file into a partial file: goes on where an earlier attempt stopped, and checks the checksum at the end.
import { createHash, type Hash } from 'node:crypto'
import { constants, type FileHandle, open } from 'node:fs/promises'
import { HubError, OutputError } from '../base/errors.ts'
import { attempt } from '../base/file-errors.node.ts'
import { writeAll } from '../formats/file.node.ts'
import { damaged, type RemoteFile } from './listing.ts'
import { type Access, failure, pause } from './request.ts'

/** Attempts without a new byte between them, after which we give up. */
const ATTEMPTS = 4
/**
 * Less in so much time is no download: snapd's bounds, 4 kB/s over 5 minutes (snapd, store/store_download.go), which is
 * 1 GB in three days. cargo and rustup have 10 B/s over 30 s; curl, git, pip and huggingface_hub have no bound.
 */
const LEAST = { bytes: 4096 * 300, ms: 300_000 }
const READ_BYTES = 2 ** 20
/** Progress is told this often. */
const INTERVAL_MS = 100

export interface Source {
  readonly url: string
  readonly access: Access
  /** `hubFetch` of it. */
  readonly fetch: typeof fetch
}

/**
 * Completes `partial`. Yields the bytes that are there, now and then, until all are.
 * @throws HubError where the connection fails for good or the checksum is wrong; OutputError where the disk is full
 */
export async function* download(source: Source, file: RemoteFile, partial: string): AsyncGenerator<number> {
  const { name, signal } = source.access
  const handle = await attempt(`write ${partial}`, () => open(partial, constants.O_RDWR | constants.O_CREAT))
  const target = new Target(handle, file, partial)
  try {
    for (let resumed = await target.resume(signal); ; resumed = 0) {
      yield* receiveAll(source, target)
      if (target.correct()) return
      await target.restart()
      if (resumed === 0) throw damaged(name, file)
    }
  } finally {
    await handle.close()
  }
}

/** The partial file, the hash of what it holds, and how much that is. */
class Target {
  at = 0
  #hash: Hash
  constructor(
    readonly handle: FileHandle,
    readonly file: RemoteFile,
    readonly path: string,
  ) {
    this.#hash = startHash(file)
  }

  /** Hashes what an earlier attempt has left. @returns its bytes */
  async resume(signal?: AbortSignal): Promise<number> {
    const { size } = await this.handle.stat()
    if (size > this.file.size) await this.restart()
    const buffer = Buffer.alloc(READ_BYTES)
    for (;;) {
      signal?.throwIfAborted()
      const { bytesRead } = await this.handle.read(buffer, 0, buffer.length, this.at)
      if (bytesRead === 0) return this.at
      this.#hash.update(buffer.subarray(0, bytesRead))
      this.at += bytesRead
    }
  }

  async restart(): Promise<void> {
    await this.handle.truncate(0)
    this.at = 0
    this.#hash = startHash(this.file)
  }

  async write(bytes: Uint8Array): Promise<void> {
    await attempt(`write ${this.path}`, () => writeAll(bytes, this.handle, this.at))
    this.#hash.update(bytes)
    this.at += bytes.length
  }

  correct(): boolean {
    return this.#hash.digest('hex') === this.file.etag
  }
}

/** Git's checksum is over a header, too: git-scm.com/book, Git Internals, Git Objects. */
const startHash = ({ etag, size }: RemoteFile): Hash =>
  etag.length === 64 ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`)

/** Refuses a server that would take for ever, also by breaking the connection after each few bytes. */
class Pace {
  #last = performance.now()
  #ms = 0
  #from: number
  constructor(
    readonly target: Target,
    readonly access: Access,
  ) {
    this.#from = target.at
  }

  /** To be called after each piece, and after each failure. @throws HubError */
  check(): void {
    const { target, access } = this
    const now = performance.now()
    this.#ms += Math.min(now - this.#last, access.timeout) // longer: the computer or the process was asleep
    this.#last = now
    this.#from = Math.min(this.#from, target.at) // from the start again, where the server knows no ranges
    if (this.#ms < LEAST.ms) return
    const { path, size } = target.file
    if (target.at - this.#from < LEAST.bytes)
      throw new HubError(
        access.name,
        `${path} comes at less than ${LEAST.bytes / LEAST.ms} kB/s (byte ${target.at} of ${size}). ${KEPT}`,
      )
    this.#ms = 0
    this.#from = target.at
  }
}

const KEPT = 'What has arrived is kept: run the same command again.'

/** Asks again for the rest as long as more arrives. */
async function* receiveAll(source: Source, target: Target): AsyncGenerator<number> {
  const { name, signal } = source.access
  const pace = new Pace(target, source.access)
  for (let failures = 0; target.at < target.file.size; ) {
    const before = target.at
    try {
      yield* receive(source, target, pace)
    } catch (error) {
      signal?.throwIfAborted()
      if (error instanceof HubError || error instanceof OutputError) throw error
      failures = target.at > before ? 1 : failures + 1
      if (failures >= ATTEMPTS) {
        const { path, size } = target.file
        const where = `at byte ${target.at} of ${size} of ${path}`
        throw new HubError(name, `the connection broke ${where} (${failure(error)}). ${KEPT}`, { cause: error })
      }
      pace.check()
      await pause(failures, signal)
    }
  }
}

/** One request for what is missing. @throws Error where the connection breaks */
async function* receive({ url, access, fetch }: Source, target: Target, pace: Pace): AsyncGenerator<number> {
  const { timeout } = access
  const stalled = new AbortController()
  const stall = () => stalled.abort(new Error(`no data for ${timeout / 1000} s`))
  const timer = setTimeout(stall, timeout)
  try {
    const headers = target.at > 0 ? { Range: `bytes=${target.at}-` } : undefined
    const response = await fetch(url, { headers, signal: stalled.signal })
    if (response.status !== 206) await target.restart() // the server knows no ranges
    let told = performance.now()
    for await (const bytes of response.body ?? []) {
      timer.refresh()
      if (target.at + bytes.length > target.file.size)
        throw new HubError(
          access.name,
          `${target.file.path} is longer than the ${target.file.size} bytes that the Hub lists.`,
        )
      await target.write(bytes)
      pace.check()
      if (performance.now() - told < INTERVAL_MS || target.at === target.file.size) continue
      yield target.at
      told = performance.now()
    }
    if (target.at < target.file.size) throw new Error('the answer ended early')
  } finally {
    clearTimeout(timer)
  }
}
