// Where outputs go. A sink's files are seen all at once, at `commit`, or never.
import { UsageError } from '../base/errors.ts'
import type { Progress } from '../base/events.ts'
import type { SideFile } from '../checkpoint/checkpoint.ts'
import type { WrittenFile } from './steps.ts'

/** Marks a folder as written by us, and lists as `files`, with hashes, what we wrote: only that may be replaced. */
export const OWN_MARK = 'fasp.json'
/** The key of the metadata that marks a GGUF file as written by us. */
export const OWN_KEY = 'fasp.version'
/** The name of a model that is one GGUF file, in a sink. */
export const GGUF_FILE = 'model.gguf'

export interface SinkFile {
  write(bytes: Uint8Array, offset: number): Promise<void>
  close(): Promise<void>
}

export interface Sink {
  /** Starts a file of a known length; slashes in its name are folders. Bytes come in any order. @throws OutputError */
  create(name: string, byteLength: number): Promise<SinkFile>
  /** A file, to read back before `commit` what was written of it: its path, or its bytes where it is in memory. */
  written(name: string): string | Uint8Array
  /** A file that another run can go on with: then `create` of its name keeps what is in it. */
  file?(name: string): WrittenFile
  /** Makes everything visible under its final name. @throws OutputError */
  commit(): Promise<void>
  /** Removes everything written so far. */
  abort(): Promise<void>
}

/** Writes a small file whole. */
export async function writeFile(sink: Sink, { name, bytes }: SideFile): Promise<void> {
  const file = await sink.create(name, bytes.byteLength)
  await file.write(bytes, 0)
  await file.close()
}

/** Shows the output once `write` has ended well, and removes it on an error, or where the caller stops listening. */
export async function* committed<T>(sink: Sink, write: () => Progress<T>): Progress<T> {
  let finished = false
  try {
    const result = yield* write()
    await sink.commit()
    finished = true
    return result
  } finally {
    if (!finished) await sink.abort()
  }
}

/** A folder inside a sink, for those who write a whole output: to commit or abort is left to whoever made the sink. */
export const subSink = (sink: Sink, folder: string): Sink => ({
  create: (name, byteLength) => sink.create(`${folder}${name}`, byteLength),
  written: name => sink.written(`${folder}${name}`),
  file: name => fileOf(sink, `${folder}${name}`),
  commit: async () => {},
  abort: async () => {},
})

/** @throws UsageError where the sink has none to go on with */
export function fileOf(sink: Sink, name: string): WrittenFile {
  if (sink.file) return sink.file(name)
  throw new UsageError('this output has no files that a run can go on with (file). Leave out what saves the run.')
}

/** Keeps nothing, for runs of which only the result counts. */
export const NOWHERE: Sink = {
  create: async () => ({ write: async () => {}, close: async () => {} }),
  written: () => new Uint8Array(),
  commit: async () => {},
  abort: async () => {},
}

/** A sink in memory, for browsers and tests: the files are in `files` once committed. */
export class MemorySink implements Sink {
  readonly files = new Map<string, Uint8Array<ArrayBuffer>>()
  readonly #pending = new Map<string, Uint8Array<ArrayBuffer>>()

  async create(name: string, byteLength: number): Promise<SinkFile> {
    const bytes = new Uint8Array(byteLength)
    this.#pending.set(name, bytes)
    return { write: async (part, offset) => bytes.set(part, offset), close: async () => {} }
  }

  written(name: string): Uint8Array {
    return this.#pending.get(name)!
  }

  async commit(): Promise<void> {
    for (const [name, bytes] of this.#pending) this.files.set(name, bytes)
    this.#pending.clear()
  }

  async abort(): Promise<void> {
    this.#pending.clear()
  }
}
