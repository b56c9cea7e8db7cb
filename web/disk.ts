// The disk that a browser gives a page: its origin-private file system (fs.spec.whatwg.org), where results, and activations that do not fit the
// memory, lie while the page is open. Each worker has a folder of its own, and a lock of the folder's name that goes when the worker does: the
// next removes what has none. Where a browser gives no disk, all is in memory.
import { OutputError } from '../src/errors.ts'
import type { ByteSource } from '../src/formats/bytes.ts'
import type { Plan, Scratch, Sink, SinkFile } from '../src/web.ts'

/** TypeScript's types of the DOM leave out what workers alone have. */
interface SyncFile {
  read(into: Uint8Array, options: { at: number }): number
  write(bytes: Uint8Array, options: { at: number }): number
  truncate(size: number): void
  getSize(): number
  flush(): void
  close(): void
}
type Handle = FileSystemFileHandle & { createSyncAccessHandle?(): Promise<SyncFile> }

const FOLDER = 'fasp'

const folder = async () => (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true })

/** Bytes that the browser gives; 0 where it gives no disk, as in some private windows. */
export async function diskBytes(): Promise<number> {
  if (!('createSyncAccessHandle' in (globalThis.FileSystemFileHandle?.prototype ?? {}))) return 0
  try {
    await folder()
    const { quota = 0, usage = 0 } = await navigator.storage.estimate()
    return quota - usage
  } catch {
    return 0
  }
}

/** What is held there: activations beyond a gigabyte (`memory`), and the result until it is taken away. */
export const heldBytes = ({ activationBytes, sizes }: Plan): number => activationBytes.scratch + sizes.weightBytes.after

export class Disk {
  #files = 0
  private constructor(readonly directory: FileSystemDirectoryHandle) {}

  /** A folder of this worker's. Undefined where there is no disk. */
  static async open(): Promise<Disk | undefined> {
    if ((await diskBytes()) === 0) return undefined
    const name = crypto.randomUUID()
    await new Promise<void>(taken => void navigator.locks.request(name, () => new Promise(() => taken())))
    const all = await folder()
    const { held = [] } = await navigator.locks.query()
    for (const other of await namesIn(all))
      if (!held.some(lock => lock.name === other)) await all.removeEntry(other, { recursive: true }).catch(() => {})
    return new Disk(await all.getDirectoryHandle(name, { create: true }))
  }

  /** For activations, and hidden states. It is gone when closed. */
  async scratch(): Promise<Scratch> {
    const name = `scratch ${this.#files++}`
    const file = await openSync(await this.directory.getFileHandle(name, { create: true }))
    return {
      read: async (target, offset) => {
        file.read(target, { at: offset })
      },
      write: async (bytes, offset) => writeAll(file, bytes, offset),
      close: async () => {
        file.close()
        await this.directory.removeEntry(name)
      },
    }
  }

  /** For a result, whose files are there until `remove`. */
  async sink(): Promise<DiskSink> {
    const name = `result ${this.#files++}`
    const remove = () => this.directory.removeEntry(name, { recursive: true })
    return new DiskSink(await this.directory.getDirectoryHandle(name, { create: true }), remove)
  }
}

export class DiskSink implements Sink {
  readonly #open = new Map<string, SyncFile>()
  readonly #made = new Map<string, FileSystemFileHandle>()

  constructor(
    readonly directory: FileSystemDirectoryHandle,
    readonly remove: () => Promise<void>,
  ) {}

  async create(name: string, byteLength: number): Promise<SinkFile> {
    const handle = await this.directory.getFileHandle(encodeURIComponent(name), { create: true })
    const file = await openSync(handle)
    this.#open.set(name, file)
    this.#made.set(name, handle)
    attempt(() => file.truncate(byteLength))
    return {
      write: async (bytes, offset) => writeAll(file, bytes, offset),
      close: async () => attempt(() => file.flush()),
    }
  }

  written(name: string): Uint8Array {
    const file = this.#open.get(name)!
    const bytes = new Uint8Array(file.getSize())
    file.read(bytes, { at: 0 })
    return bytes
  }

  /** A file that is not committed yet, as far as it is written. */
  source(name: string): ByteSource {
    const file = this.#open.get(name)!
    const byteLength = file.getSize()
    const slice = async (start: number, end = byteLength) => {
      const bytes = new Uint8Array(Math.min(end, byteLength) - start)
      file.read(bytes, { at: start })
      return bytes.buffer
    }
    return { name, byteLength, slice }
  }

  async commit(): Promise<void> {
    for (const file of this.#open.values()) file.close()
    this.#open.clear()
  }

  async abort(): Promise<void> {
    await this.commit()
    await this.remove()
  }

  /** Once committed. */
  files(): Promise<File[]> {
    return Promise.all([...this.#made].map(async ([name, handle]) => new File([await handle.getFile()], name)))
  }
}

async function namesIn(directory: FileSystemDirectoryHandle): Promise<string[]> {
  const names: string[] = []
  for await (const name of (directory as unknown as { keys(): AsyncIterable<string> }).keys()) names.push(name)
  return names
}

const openSync = (handle: Handle): Promise<SyncFile> => handle.createSyncAccessHandle!()

function writeAll(file: SyncFile, bytes: Uint8Array, offset: number): void {
  const written = attempt(() => file.write(bytes, { at: offset }))
  if (written !== bytes.byteLength) throw full()
}

const full = (cause?: unknown) =>
  new OutputError('the browser gives this page no more disk. Free some, or take fasp ui or the command line.', {
    cause,
  })

function attempt<T>(act: () => T): T {
  try {
    return act()
  } catch (error) {
    throw (error as Error).name === 'QuotaExceededError' ? full(error) : error
  }
}
