// A sink that is a folder, or one file of it: written under a temporary name beside it and renamed at the end.
import { constants, mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isGgufFile } from '../base/display.ts'
import { OutputError } from '../base/errors.ts'
import { attempt } from '../base/file-errors.node.ts'
import { hasState, release, tellUnfinished, unfinishedPath } from '../base/unfinished.node.ts'
import { STATE } from '../base/unfinished.ts'
import { jsonFile } from '../checkpoint/checkpoint.ts'
import { sha256, writeAll } from '../formats/file.node.ts'
import {
  allocatedBytes,
  checkMovable,
  checkOutput,
  claim,
  existing,
  freeBytes,
  keepAlive,
  makeParents,
  OWN_MARK,
  outputTarget,
  type Resume,
  removeParents,
  removeStates,
  swap,
  syncFolder,
  tellStates,
} from './place.node.ts'
import { GGUF_FILE, type Sink, type SinkFile } from './sink.ts'
import { fileAt } from './state.node.ts'

export interface FolderSink extends Sink {
  /** Where the files are until `commit`. */
  readonly pending: string
  /** Adds fields to the `fasp.json` of the folder, or replaces them. */
  note(fields: object): void
}

/**
 * Opens a folder for output, or a `.gguf` file: then of all that is written only `model.gguf` remains, under that name.
 * Nothing appears at `path` before `commit`. Where `commit` cannot put it in place, it stays complete beside `path`.
 * @param overwrite replace what an earlier run of ours wrote
 * @param inputs paths that the run reads, which are not replaced
 * @param expectedBytes room that must be there, for what `expected` names
 * @param temporary folder in it that goes again
 * @throws OutputError where `path` exists and may not be replaced, or its parent cannot be written
 */
export async function openFolderSink(
  path: string,
  overwrite: boolean,
  { inputs, expectedBytes = 0, expected = 'the output', temporary, resume }: SinkOptions = {},
): Promise<FolderSink> {
  await checkOutput(path, overwrite, inputs)
  const target = await outputTarget(path)
  const parents = await attempt(`create ${path}`, () => makeParents(dirname(target)))
  for (const parent of parents) tellUnfinished(parent, 'parent')
  if (!resume) await tellStates(path, target)
  const partial = await claim(path, target, resume).catch(async error => {
    await removeParents(parents)
    throw error
  })
  const alive = keepAlive(partial)
  const open = new Set<SinkFile>()
  const lengths = new Map<string, number>() // of all files
  const noted = {}
  let finished = false
  const abort = async () => {
    for (const file of open) await file.close().catch(() => {})
    alive[Symbol.dispose]()
    if (!finished && hasState(partial)) release(partial)
    else if (!finished) await rm(partial, { recursive: true, force: true }).catch(() => {})
    await removeParents(parents)
  }
  await attempt(`create ${path}`, async () => {
    await checkSpace(`${path}: ${expected}`, dirname(target), expectedBytes - (await allocatedBytes(partial, STATE)))
    await checkMovable(path, target, partial)
  }).catch(async error => {
    await abort()
    throw error
  })
  /** `attempt` on what is in the folder, which people remove by hand where they take it for a leftover. */
  const write = <T>(what: string, action: () => Promise<T>): Promise<T> =>
    attempt(`write ${what}`, action).catch(async cause => {
      if (await existing(partial)) throw cause
      throw new OutputError(`${path}: somebody removed ${partial}, which fasp was writing. Run again.`, { cause })
    })
  const sync = (name: string) => syncFile(join(partial, name), lengths.get(name)!, `${name} of ${path}`)
  /** Lists all other files, with their hashes, in the one that marks the folder as ours. */
  const list = async () => {
    const files: Record<string, string> = {}
    for (const name of [...lengths.keys()].sort())
      if (name !== OWN_MARK) files[name] = await sha256(join(partial, name))
    const recipe = JSON.parse(await readFile(join(partial, OWN_MARK), 'utf8'))
    const { bytes } = jsonFile(OWN_MARK, { ...recipe, ...noted, files })
    await writeFile(join(partial, OWN_MARK), bytes)
    lengths.set(OWN_MARK, bytes.byteLength)
    await sync(OWN_MARK)
  }
  return {
    pending: partial,
    note: fields => Object.assign(noted, fields),
    create: async (name, byteLength) => {
      const what = `${name} of ${path}`
      const file = await write(what, async () => {
        await makeFoldersIn(partial, dirname(name))
        return createFile(join(partial, name), byteLength, resume !== undefined)
      })
      open.add(file)
      lengths.set(name, byteLength)
      return {
        write: (bytes, offset) => write(what, () => file.write(bytes, offset)),
        close: async () => {
          open.delete(file)
          await write(what, () => file.close())
        },
      }
    },
    written: name => join(partial, name),
    file: name => fileAt(join(partial, name)),
    commit: async () => {
      await write(path, async () => {
        if (temporary) {
          await rm(join(partial, temporary), { recursive: true, force: true })
          for (const name of lengths.keys()) if (name.startsWith(temporary)) lengths.delete(name)
        }
        for (const name of lengths.keys()) await sync(name)
        if (lengths.has(OWN_MARK) && !isGgufFile(path)) await list()
        await syncFolder(partial)
      })
      finished = true
      alive[Symbol.dispose]()
      const state = hasState(partial) ? unfinishedPath(join(dirname(target), '.fasp.state')) : undefined
      if (state) await attempt(`put ${path} in place`, () => rename(join(partial, STATE), state))
      tellUnfinished(partial, 'kept')
      await attempt(`put ${path} in place`, async () => {
        await checkOutput(path, overwrite, inputs, partial)
        if (!isGgufFile(path)) return swap(partial, target, partial)
        await rename(join(partial, GGUF_FILE), target)
        await syncFolder(dirname(target))
        await rm(partial, { recursive: true, force: true })
      })
        .catch(async error => {
          if (!(await existing(partial))) throw error
          const finished = partial.replace(/partial$/, 'finished') // no leftover
          const kept = await rename(partial, finished).then(
            () => finished,
            () => partial,
          )
          throw new OutputError(`${error.message} The finished result is kept in ${kept}.`, { cause: error })
        })
        .finally(() => state && rm(state, { recursive: true, force: true }).catch(() => {})) // the next run removes it
      await removeStates(path, target).catch(() => {}) // it is named again by the next run
    },
    abort,
  }
}

export interface SinkOptions {
  /** Paths that the run reads, which are not replaced. */
  readonly inputs?: readonly string[]
  /** Room that must be there. */
  readonly expectedBytes?: number
  /** What takes it, for messages. @default 'the output' */
  readonly expected?: string
  /** A folder in it that goes again at `commit`, its name with a slash. */
  readonly temporary?: string
  /** Take over what an earlier run into this path has left, unless this throws. @default a new one */
  readonly resume?: Resume
}

/** Makes folders in one that is there, and not that one, which somebody may have removed. */
async function makeFoldersIn(folder: string, name: string): Promise<void> {
  if (name === '.') return
  await makeFoldersIn(folder, dirname(name))
  await mkdir(join(folder, name)).catch(error => {
    if (error.code !== 'EEXIST') throw error
  })
}

/** Sees that a file is what was written, and that it is on the disk. @throws OutputError */
async function syncFile(path: string, length: number, what: string): Promise<void> {
  const handle = await open(path, 'r+')
  try {
    if ((await handle.stat()).size !== length)
      throw new OutputError(`${what} was changed by something else while fasp wrote it. Run again.`)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** @throws OutputError where the disk of `folder` has no room for `needed` bytes more */
export async function checkSpace(what: string, folder: string, needed: number): Promise<void> {
  const free = await freeBytes(folder)
  if (free < needed)
    throw new OutputError(
      `${what} needs ${megabytes(needed)}, the disk has ${megabytes(free)} left. ` +
        'Free some space or choose another folder.',
    )
}

const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`

/** @param again what is there stays, as far as the length goes */
async function createFile(path: string, byteLength: number, again = false): Promise<SinkFile> {
  const handle = await open(path, again ? constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0) : 'wx')
  await handle.truncate(byteLength).catch(async error => {
    await handle.close()
    throw error
  })
  return {
    write: (bytes, offset) => writeAll(bytes, handle, offset),
    close: () => handle.close(),
  }
}
