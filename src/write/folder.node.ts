// A sink that is a folder, or one file of it: written under a temporary name beside it and renamed at the end.
import { randomUUID } from 'node:crypto'
import { access, constants, mkdir, mkdtemp, open, readdir, rename, rm, rmdir, stat, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { OutputError } from '../errors.ts'
import { openFile } from '../formats/file.node.ts'
import { attempt, REASONS } from '../formats/file-errors.node.ts'
import { openGguf } from '../formats/gguf.ts'
import { GGUF_FILE, OWN_KEY } from './gguf.ts'
import type { Sink, SinkFile } from './sink.ts'

/** The file that marks a folder as written by us: only such a folder may be replaced. */
export const OWN_MARK = 'fasp.json'

/** Whether an output is a GGUF file, and not a folder. */
export const isGgufFile = (path: string): boolean => path.toLowerCase().endsWith('.gguf')

export interface FolderSink extends Sink {
  /** Where the files are until `commit`. */
  readonly pending: string
}

/** Makes a folder below TMPDIR; who asks for it removes it. @param hint what else the user can do @throws OutputError */
export const temporaryFolder = (prefix: string, hint = ''): Promise<string> =>
  mkdtemp(join(tmpdir(), prefix)).catch(cause => {
    const problem = `cannot make a temporary folder in ${tmpdir()} (${cause.code})`
    throw new OutputError(`${problem}. Set TMPDIR to a folder that you may write to${hint}.`, { cause })
  })

/**
 * Opens a folder for output, or a `.gguf` file: then of all that is written only `model.gguf` remains, under that name.
 * Nothing appears under `path` before `commit`.
 * @param overwrite replace what an earlier run of ours wrote
 * @param expectedBytes room that must be there, for what `expected` names
 * @throws OutputError where `path` exists and may not be replaced, or its parent cannot be written
 */
export async function openFolderSink(
  path: string,
  overwrite: boolean,
  expectedBytes = 0,
  expected = 'the output',
): Promise<FolderSink> {
  const target = resolve(path)
  const parent = dirname(target)
  await checkOutput(path, overwrite)
  const temporary = join(parent, `.${basename(target)}.${randomUUID().slice(0, 8)}.partial`)
  const open = new Set<SinkFile>()
  let made: string | undefined // the uppermost folder above the output that we made
  const removeMade = async () => {
    for (let folder = parent; made && folder.length >= made.length; folder = dirname(folder))
      await rmdir(folder).catch(() => {}) // somebody else uses it by now
  }
  await attempt(`create ${path}`, async () => {
    made = await mkdir(parent, { recursive: true })
    await access(parent, constants.W_OK)
    await checkSpace(`${path}: ${expected}`, parent, expectedBytes)
    await mkdir(temporary)
  }).catch(async error => {
    await removeMade()
    throw error
  })
  return {
    pending: temporary,
    create: async (name, byteLength) => {
      const file = await attempt(`write ${name} of ${path}`, async () => {
        await mkdir(dirname(join(temporary, name)), { recursive: true })
        return createFile(join(temporary, name), byteLength)
      })
      open.add(file)
      return {
        write: (bytes, offset) => attempt(`write ${name} of ${path}`, () => file.write(bytes, offset)),
        close: async () => {
          open.delete(file)
          await attempt(`write ${name} of ${path}`, () => file.close())
        },
      }
    },
    written: name => join(temporary, name),
    commit: () =>
      attempt(`put ${path} in place`, async () => {
        await checkOutput(path, overwrite)
        if (isGgufFile(path)) {
          await rename(join(temporary, GGUF_FILE), target)
          await rm(temporary, { recursive: true })
          return
        }
        const old = `${temporary}.old`
        const replaced = await exists(path, target)
        if (replaced) await rename(target, old)
        await rename(temporary, target).catch(async error => {
          if (replaced) await rename(old, target)
          throw error
        })
        if (replaced) await rm(old, { recursive: true })
      }),
    abort: async () => {
      for (const file of open) await file.close().catch(() => {})
      await rm(temporary, { recursive: true, force: true })
      await removeMade()
    },
  }
}

/** @throws OutputError where the disk of `folder` has no room for `needed` bytes more */
export async function checkSpace(what: string, folder: string, needed: number): Promise<void> {
  const { bavail, bsize } = await statfs(folder)
  if (bavail * bsize < needed)
    throw new OutputError(
      `${what} needs ${megabytes(needed)}, the disk has ${megabytes(bavail * bsize)} left. Free some space or choose another folder.`,
    )
}

const megabytes = (bytes: number) => `${Math.ceil(bytes / 1e6)} MB`

const exists = (path: string, target: string) =>
  stat(target).then(
    () => true,
    error => {
      if (error.code === 'ENOENT') return false
      throw new OutputError(`cannot create ${path}: ${REASONS[error.code] ?? error.message}.`, { cause: error })
    },
  )

/** @throws OutputError where `path` exists and may not be replaced */
export async function checkOutput(path: string, overwrite = false): Promise<void> {
  const target = resolve(path)
  if (!(await exists(path, target))) return
  const [kind, mark] = isGgufFile(path) ? ['file', OWN_KEY] : ['folder', OWN_MARK]
  const isFolder = (await stat(target)).isDirectory()
  if (isFolder !== (kind === 'folder'))
    throw new OutputError(`${path} is a ${isFolder ? 'folder' : 'file'}. The output is a ${kind}; choose another name.`)
  const marks = isFolder ? await readdir(target) : await metadataKeys(target)
  if (isFolder && marks.length === 0) return
  if (!overwrite)
    throw new OutputError(`${path} exists already. Choose another ${kind}, or replace it with --overwrite.`)
  if (!marks.includes(mark))
    throw new OutputError(
      `${path} was not written by fasp (it has no ${mark}), so --overwrite leaves it alone. Choose another ${kind}.`,
    )
}

/** Keys in the header of a GGUF file; none where it is something else. */
async function metadataKeys(path: string): Promise<string[]> {
  const file = await openFile(path)
  try {
    return [...(await openGguf(file)).metadata.keys()]
  } catch {
    return []
  } finally {
    await file.close?.()
  }
}

async function createFile(path: string, byteLength: number): Promise<SinkFile> {
  const handle = await open(path, 'wx')
  await handle.truncate(byteLength).catch(async error => {
    await handle.close()
    throw error
  })
  return {
    async write(bytes, offset) {
      for (let done = 0; done < bytes.byteLength; )
        done += (await handle.write(bytes, done, bytes.byteLength - done, offset + done)).bytesWritten
    },
    close: () => handle.close(),
  }
}
