// The disk that a browser gives a page, its origin-private file system (fs.spec.whatwg.org): results, and activations
// beyond the memory, lie there while the page is open. The worker that made a folder holds a lock of its name; the next
// worker removes folders without one, but for runs that can go on (notes.ts).
import type { ByteSource } from '../src/base/bytes.ts'
import { FormatError, OutputError } from '../src/base/errors.ts'
import type { Plan, Scratch, Sink, SinkFile, WrittenFile } from '../src/web.ts'
import { namesIn, noteIn } from './notes.ts'

/** TypeScript's types of the DOM leave out what workers alone have. */
export interface SyncFile {
  read(into: Uint8Array, options: { at: number }): number
  write(bytes: Uint8Array, options: { at: number }): number
  truncate(size: number): void
  getSize(): number
  flush(): void
  close(): void
}
type Handle = FileSystemFileHandle & { createSyncAccessHandle?(): Promise<SyncFile> }

const FOLDER = 'fasp'
/** Of a run that is saved. */
export const RESULT = 'result 0'

/** With a folder for each that is at work, and for each run that was stopped. */
export const folder = async () => (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true })

/** Whether the browser gives a disk: some do not in private windows. */
export const hasDisk = async (): Promise<boolean> =>
  'createSyncAccessHandle' in (globalThis.FileSystemFileHandle?.prototype ?? {}) &&
  folder().then(
    () => true,
    () => false,
  )

/** Bytes that the browser gives; 0 where it gives no disk. */
export async function diskBytes(): Promise<number> {
  if (!(await hasDisk())) return 0
  const { quota = 0, usage = 0 } = await navigator.storage.estimate()
  return Math.max(0, quota - usage)
}

/** What is held there: activations beyond a gigabyte (`memory`), and the result until it is taken away. */
export const heldBytes = ({ activationBytes, sizes }: Plan): number => activationBytes.scratch + sizes.weightBytes.after

/** Takes a lock that goes with this worker. @returns what gives it back; undefined where another has it */
const take = (name: string): Promise<(() => void) | undefined> =>
  new Promise((taken, failed) => {
    const hold = (lock: Lock | null) => (lock ? new Promise<void>(release => taken(release)) : taken(undefined))
    navigator.locks.request(name, { ifAvailable: true }, hold).catch(failed)
  })

export class Disk {
  #files = 0
  private constructor(
    readonly name: string,
    readonly directory: FileSystemDirectoryHandle,
    /** Leaves it to others. */
    readonly release: () => void,
  ) {}

  /** A folder of this worker's. Undefined where there is no disk. */
  static async open(): Promise<Disk | undefined> {
    if (!(await hasDisk())) return undefined
    const name = crypto.randomUUID()
    const release = (await take(name))!
    const all = await folder()
    for (const other of await namesIn(all)) {
      const { held = [] } = await navigator.locks.query()
      const stays = held.some(lock => lock.name === other) || (await isRun(all, other))
      if (!stays) await all.removeEntry(other, { recursive: true }).catch(() => {})
    }
    return new Disk(name, await all.getDirectoryHandle(name, { create: true }), release)
  }

  /** The folder of a run that was stopped. Undefined where it is gone, or another worker has it. */
  static async reopen(name: string): Promise<Disk | undefined> {
    const release = await take(name)
    if (!release) return undefined
    const all = await folder()
    if (await isRun(all, name)) return new Disk(name, await all.getDirectoryHandle(name), release)
    release()
    return undefined
  }

  /** Removes it. */
  async remove(): Promise<void> {
    await (await folder()).removeEntry(this.name, { recursive: true })
    this.release()
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

  /** For the result of a run that is saved, which is all that is in this folder in the end: it goes with it. */
  async runSink(): Promise<DiskSink> {
    return new DiskSink(await this.directory.getDirectoryHandle(RESULT, { create: true }), () => this.remove(), true)
  }
}

/** Whether a folder has a run that can be gone on with. */
const isRun = async (all: FileSystemDirectoryHandle, name: string): Promise<boolean> =>
  all
    .getDirectoryHandle(name)
    .then(noteIn)
    .then(
      note => note !== undefined,
      () => false,
    )

export class DiskSink implements Sink {
  readonly #open = new Map<string, SyncFile>()
  readonly #made = new Map<string, FileSystemFileHandle>()

  constructor(
    readonly directory: FileSystemDirectoryHandle,
    readonly remove: () => Promise<void>,
    /** Its files stay where the run fails, for another to go on with. */
    readonly stays = false,
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

  file(name: string): WrittenFile {
    const file = this.#open.get(name)!
    return {
      name,
      read: async (target, offset) => readAll(file, name, target, offset),
      sync: async () => attempt(() => file.flush()),
    }
  }

  /** A file that is not committed yet, as far as it is written. Undefined before anything is. */
  source(name: string): ByteSource | undefined {
    const file = this.#open.get(name)
    if (!file) return undefined
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
    if (!this.stays) await this.remove()
  }

  /** Once committed. */
  files(): Promise<File[]> {
    return Promise.all([...this.#made].map(async ([name, handle]) => new File([await handle.getFile()], name)))
  }
}

export const openSync = (handle: Handle): Promise<SyncFile> => handle.createSyncAccessHandle!()

/** @throws OutputError where the disk is full */
export function writeAll(file: SyncFile, bytes: Uint8Array, offset: number): void {
  const written = attempt(() => file.write(bytes, { at: offset }))
  if (written !== bytes.byteLength) throw full()
}

/** @throws FormatError where the file ends before */
export function readAll(file: SyncFile, name: string, target: Uint8Array, offset: number): void {
  if (file.read(target, { at: offset }) !== target.byteLength) throw new FormatError(name, 'ended before its end')
}

const full = (cause?: unknown) =>
  new OutputError('the browser gives this page no more disk. Free some, or take fasp ui or the command line.', {
    cause,
  })

/** @throws OutputError where the disk is full */
export function attempt<T>(act: () => T): T {
  try {
    return act()
  } catch (error) {
    throw (error as Error).name === 'QuotaExceededError' ? full(error) : error
  }
}
