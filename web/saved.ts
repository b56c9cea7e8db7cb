// A run of the page that is saved on the browser's disk, in a folder of its own: a note of what it is, its texts, state
// and result. A page that is loaded later goes on with it to the same bytes.
import { bytes as shown } from '../src/base/display.ts'
import { FormatError, UsageError } from '../src/base/errors.ts'
import { hashBlob } from '../src/base/hash.ts'
import type { JsonObject } from '../src/base/json.ts'
import { STATE } from '../src/base/unfinished.ts'
import type { Settings } from '../src/page/protocol.ts'
import { inspect, type Plan, type SavedInPage, type StateFolder } from '../src/web.ts'
import { attempt, Disk, type DiskSink, openSync, RESULT, readAll, writeAll } from './disk.ts'
import { bytesIn, type ModelFile, NOTE, type Note, namesIn, noteIn, textName } from './notes.ts'
import { modelFiles, opened, originOf, textsOf } from './opened.ts'
import { takeRun } from './runs.ts'

/** Seconds between two savings, at least. A tab is closed sooner than a machine fails. */
const EVERY = 2
/** Texts are copied by as much. */
const PART = 2 ** 24

export interface SavedRun {
  readonly settings: Settings
  readonly sink: DiskSink
  readonly saved: SavedInPage
  /** The result is what remains. */
  end(): Promise<void>
  /** Leaves it to be gone on with, where something is saved and it is not `over`; else nothing remains. */
  stop(over: boolean): Promise<void>
}

/** TypeScript's types of the DOM leave it out. */
type Movable = FileSystemFileHandle & { move?(name: string): Promise<void> }

/** Begins one. Undefined where the browser gives no disk, or none that puts a file in the place of another at once. */
export async function beginRun(settings: Settings, plan: Plan): Promise<SavedRun | undefined> {
  if (!('move' in FileSystemFileHandle.prototype)) return undefined
  const disk = await Disk.open()
  if (!disk) return undefined
  try {
    const { texts: given, ...others } = settings
    const texts = textsOf(settings)
    for (const [i, text] of (texts ?? []).entries()) await copy(text, disk.directory, textName(i))
    const model = opened()
    const { name, layers } = await inspect(model)
    const files = await modelFiles()
    const names = texts?.map(text => text.name)
    const note: Note = {
      ...{ schema: 1, begun: Date.now(), name, layers, origin: originOf(), files, settings: others, texts: names },
    }
    await write(disk.directory, NOTE, new TextEncoder().encode(JSON.stringify(note)))
    return await openRun(disk, note, settings, plan)
  } catch (error) {
    await disk.remove()
    throw error
  }
}

/** Takes a stopped run whose model is open. @throws UsageError where it is another model, or another tab has it */
export async function reopenRun(id: string, planOf: (settings: Settings) => Promise<Plan>): Promise<SavedRun> {
  const disk = await takeRun(id)
  try {
    const note = (await noteIn(disk.directory))!
    checkSame(note, await modelFiles())
    const texts = note.texts && (await Promise.all(note.texts.map((name, i) => textIn(disk.directory, i, name))))
    const settings = { ...note.settings, texts }
    return await openRun(disk, note, settings, await planOf(settings))
  } catch (error) {
    disk.release()
    throw error
  }
}

async function openRun(disk: Disk, { files }: Note, settings: Settings, plan: Plan): Promise<SavedRun> {
  const sink = await disk.runSink()
  const folder = stateFolder(disk.directory, plan.sizes.weightBytes.after)
  const texts = textsOf(settings)
  const { hardwareConcurrency: cores, userAgent: browser } = navigator
  const of: JsonObject = {
    model: files.map(({ path, sha256 }) => ({ path, sha256 })),
    vocabulary: settings.vocabulary ?? null,
    calibration: texts ? await Promise.all(texts.map(async text => ({ sha256: await hashBlob(text) }))) : null,
    machine: { browser, cores, threads: globalThis.crossOriginIsolated },
  }
  return {
    settings,
    sink,
    saved: { folder, of, every: EVERY },
    async end() {
      for (const name of [NOTE, STATE, ...(texts ?? []).map((_, i) => textName(i))])
        await disk.directory.removeEntry(name, { recursive: true }).catch(() => {}) // the next worker removes it
    },
    async stop(over) {
      await sink.abort()
      if (over || !(await noteIn(disk.directory))) await disk.remove()
      else disk.release()
    },
  }
}

/** @throws UsageError that says what differs */
function checkSame({ name, files }: Note, given: readonly ModelFile[]): void {
  const refuse = (problem: string) =>
    new UsageError(`this is another model than that of the run: ${problem}. Give the files of ${name} once more.`)
  for (const { path, size } of files) {
    const other = given.find(one => one.path === path)
    if (!other) throw refuse(`${path} is not among its files`)
    if (other.size !== size) throw refuse(`${path} has ${shown(other.size)}, there ${shown(size)}`)
  }
  const more = given.find(({ path }) => !files.some(one => one.path === path))
  if (more) throw refuse(`${more.path} is among its files, and was not`)
  const changed = files.find(({ sha256 }, i) => given[i].sha256 !== sha256)
  if (changed) throw refuse(`${changed.path} is as long, and has other bytes`)
}

/** A text as it was kept, in memory: what it is kept in goes with the run. */
async function textIn(directory: FileSystemDirectoryHandle, i: number, name: string): Promise<File> {
  const file = await (await directory.getFileHandle(textName(i))).getFile()
  return new File([await file.arrayBuffer()], name)
}

async function copy(from: Blob, directory: FileSystemDirectoryHandle, name: string): Promise<void> {
  const file = await openSync(await directory.getFileHandle(name, { create: true }))
  try {
    for (let at = 0; at < from.size; at += PART)
      writeAll(file, new Uint8Array(await from.slice(at, at + PART).arrayBuffer()), at)
    attempt(() => file.flush())
  } finally {
    file.close()
  }
}

const write = (directory: FileSystemDirectoryHandle, name: string, bytes: Uint8Array): Promise<void> =>
  copy(new Blob([bytes as Uint8Array<ArrayBuffer>]), directory, name)

/** The state in the folder of a run. @param reserved bytes that its result takes */
function stateFolder(of: FileSystemDirectoryHandle, reserved: number): StateFolder {
  const there = () => of.getDirectoryHandle(STATE)
  const made = () => of.getDirectoryHandle(STATE, { create: true })
  const handleOf = async (name: string): Promise<FileSystemFileHandle> =>
    (await there()).getFileHandle(name).catch(cause => {
      throw new FormatError(`${STATE}/${name}`, 'no such file', { cause })
    })
  return {
    ...{ path: STATE, whose: 'This page', purpose: 'What this page would go on from after a reload' },
    remedy: 'It goes on as it was begun, or not at all: then remove it.',
    list: async () => there().then(namesIn, () => []),
    async read(name, limit) {
      const file = await (await handleOf(name)).getFile()
      if (file.size > limit) throw new FormatError(`${STATE}/${name}`, `has ${file.size} bytes, allowed are ${limit}`)
      return new Uint8Array(await file.arrayBuffer())
    },
    async write(name, bytes) {
      const folder = await made()
      await folder.removeEntry(name).catch(() => {}) // a longer one that no manifest names
      await write(folder, name, bytes)
    },
    async open(name, create = false) {
      const file = await openSync(create ? await (await made()).getFileHandle(name, { create }) : await handleOf(name))
      if (create) file.truncate(0)
      return {
        byteLength: file.getSize(),
        read: async (target, offset) => readAll(file, `${STATE}/${name}`, target, offset),
        write: async (bytes, offset) => writeAll(file, bytes, offset),
        sync: async () => attempt(() => file.flush()),
        close: async () => file.close(),
      }
    },
    rename: async (from, to) => ((await handleOf(from)) as Movable).move!(to),
    remove: async name => (name ? (await there()).removeEntry(name) : of.removeEntry(STATE, { recursive: true })),
    async freeBytes() {
      const { quota = 0, usage = 0 } = await navigator.storage.estimate()
      const written = await of.getDirectoryHandle(RESULT).then(bytesIn, () => 0)
      return quota - usage - Math.max(0, reserved - written)
    },
  }
}
