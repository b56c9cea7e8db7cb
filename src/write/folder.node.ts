// A sink that is a folder: written under a temporary name beside it and renamed at the end.
import { randomUUID } from 'node:crypto'
import { access, constants, mkdir, open, readdir, rename, rm, rmdir, stat, statfs } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { OutputError } from '../errors.ts'
import type { Sink, SinkFile } from './sink.ts'

/** The file that marks a folder as written by us: only such a folder may be replaced. */
const OWN_MARK = 'fasp.json'

/**
 * Opens a folder for output. Nothing appears under `path` before `commit`.
 * @param overwrite replace a folder that an earlier run of ours wrote
 * @throws OutputError where `path` exists and may not be replaced, or its parent cannot be written
 */
export async function openFolderSink(path: string, overwrite: boolean, expectedBytes = 0): Promise<Sink> {
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
    const { bavail, bsize } = await statfs(parent)
    if (bavail * bsize < expectedBytes)
      throw new OutputError(
        `${path}: the output needs ${megabytes(expectedBytes)}, the disk has ${megabytes(bavail * bsize)} left. Free some space or choose another folder.`,
      )
    await mkdir(temporary)
  }).catch(async error => {
    await removeMade()
    throw error
  })
  return {
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
  const files = await readdir(target).catch(() => {
    throw new OutputError(`${path} is a file. The output is a folder; choose another name.`)
  })
  if (files.length === 0) return
  if (!overwrite)
    throw new OutputError(`${path} exists already. Choose another folder, or replace it with --overwrite.`)
  if (!files.includes(OWN_MARK))
    throw new OutputError(
      `${path} was not written by fasp (it has no ${OWN_MARK}), so --overwrite leaves it alone. Choose another folder.`,
    )
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

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full; free some space or choose another folder',
  EDQUOT: 'the disk quota is used up; free some space or choose another folder',
  EFBIG: 'files of this size are not allowed here; raise the limit (ulimit -f) or choose another folder',
  ENAMETOOLONG: 'the name is too long; choose a shorter one',
  EEXIST: 'a part of the path is a file; choose another folder',
  EACCES: 'permission denied; choose a folder that you may write to',
  EPERM: 'permission denied; choose a folder that you may write to',
  EROFS: 'the file system is read-only; choose another folder',
  ENOTDIR: 'a part of the path is a file; choose another folder',
}

async function attempt<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    if (error instanceof OutputError) throw error
    const { code, message } = error as NodeJS.ErrnoException
    throw new OutputError(`cannot ${what}: ${REASONS[code ?? ''] ?? message}.`, { cause: error })
  }
}
