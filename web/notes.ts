// What a run of the page is, beside its state on the browser's disk: by it a page that is loaded later goes on.
import { isJsonObject } from '../src/base/json.ts'
import { MANIFEST, STATE } from '../src/base/unfinished.ts'
import type { Origin, Settings } from '../src/page/protocol.ts'

/** A file of the model that is pruned. */
export interface ModelFile {
  readonly path: string
  readonly size: number
  /** As `hashBlob` makes it. */
  readonly sha256: string
}

export interface Note {
  /** Of the form. */
  readonly schema: 1
  /** Milliseconds since 1970. */
  readonly begun: number
  /** Of the model. */
  readonly name: string
  readonly layers: number
  readonly origin: Origin
  readonly files: readonly ModelFile[]
  readonly settings: Omit<Settings, 'texts'>
  /** Names of the texts, which lie beside it in this order. Absent where the model writes its own. */
  readonly texts?: readonly string[]
}

export const NOTE = 'run.json'
export const textName = (i: number): string => `text ${i}`

/** Of the run in a folder; undefined where there is none that one could go on with. */
export async function noteIn(directory: FileSystemDirectoryHandle): Promise<Note | undefined> {
  try {
    await manifestIn(directory)
    const note: unknown = JSON.parse(await (await fileIn(directory, NOTE)).text())
    return isJsonObject(note) && note.schema === 1 ? (note as unknown as Note) : undefined
  } catch {
    return undefined
  }
}

const fileIn = async (directory: FileSystemDirectoryHandle, name: string): Promise<File> =>
  (await directory.getFileHandle(name)).getFile()

const manifestIn = async (directory: FileSystemDirectoryHandle): Promise<File> =>
  fileIn(await directory.getDirectoryHandle(STATE), MANIFEST)

/** Of steps, whose names the state has. */
const LAYER = /^(ffn|removed) \d+$/

/** Layers that are done, by the state. */
export async function layersDone(directory: FileSystemDirectoryHandle): Promise<number> {
  try {
    const { steps } = JSON.parse(await (await manifestIn(directory)).text())
    return steps.filter(({ name }: { name: string }) => LAYER.test(name)).length
  } catch {
    return 0 // whoever goes on is told what is wrong with it
  }
}

/** Of a folder with folders, what its files take. */
export async function bytesIn(directory: FileSystemDirectoryHandle): Promise<number> {
  let bytes = 0
  for (const name of await namesIn(directory)) {
    const file = await fileIn(directory, name).catch(() => undefined)
    bytes += file ? file.size : await bytesIn(await directory.getDirectoryHandle(name)).catch(() => 0)
  }
  return bytes
}

export async function namesIn(directory: FileSystemDirectoryHandle): Promise<string[]> {
  const names: string[] = []
  for await (const name of (directory as unknown as { keys(): AsyncIterable<string> }).keys()) names.push(name)
  return names
}
