// A file on disk: a handle, a `ByteSource`, the whole, or a hash. Files that users name are opened here alone.
import { createHash, type Hash } from 'node:crypto'
import type { Stats } from 'node:fs'
import { constants, type FileHandle, open, stat } from 'node:fs/promises'
import { type ByteSource, readWhole } from '../base/bytes.ts'
import { FormatError } from '../base/errors.ts'
import { said } from '../base/file-errors.node.ts'

/** The operating system reads and writes at most 2^31 − 4096 bytes in one call, and Node refuses to ask for 2^31. */
const MAX_CALL = 2 ** 30

/**
 * Opens a regular file, and nothing else: from a pipe (`<(…)` is one), a socket or a device one could wait for ever.
 * @throws FormatError where it is missing, unreadable or no regular file
 */
export async function openRegular(path: string): Promise<{ handle: FileHandle; size: number; changed: number }> {
  // Without O_NONBLOCK, which regular files ignore and Windows lacks, opening a pipe waits for its other end.
  const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch(cause => {
    if (cause.code === 'ENOENT') throw new FormatError(path, 'no such file', { cause })
    if (cause.code === 'ENXIO') throw irregular(path) // a socket
    throw new FormatError(path, `cannot be opened (${said(cause)}); check the path and its permissions`, { cause })
  })
  try {
    const stat = await statOf(handle, path)
    if (!stat.isFile()) throw irregular(path)
    return { handle, size: stat.size, changed: stat.mtimeMs }
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** How the system says that nothing is there. */
const ABSENT = ['ENOENT', 'ENOTDIR', 'ENAMETOOLONG']

/** What is at a path, links followed; undefined where nothing is. @throws FormatError where that is not to be seen */
export const statAt = (path: string): Promise<Stats | undefined> =>
  stat(path).catch(cause => (ABSENT.includes(cause.code) ? undefined : unreadable(path, '', cause)))

const irregular = (path: string) => new FormatError(path, 'is no regular file, but a folder, pipe, socket or device')

const statOf = (handle: FileHandle, path: string) => handle.stat().catch(cause => unreadable(path, '', cause))

function unreadable(path: string, where: string, cause: unknown): never {
  throw new FormatError(path, `cannot be read${where} (${said(cause)}). Run again when it can`, { cause })
}

/** Larger parts are hashed no faster. */
const HASHED_BYTES = 2 ** 20

/** After reading as much, looking whether somebody wrote to the file meanwhile costs nothing: tensors are as large. */
const WATCHED_BYTES = 2 ** 16

/** Opens a file for reading at any offset. @throws as `openRegular` */
export async function openFile(path: string): Promise<ByteSource> {
  const { handle, size, changed } = await openRegular(path)
  return {
    name: path,
    byteLength: size,
    async slice(start, end = size) {
      const bytes = new Uint8Array(Math.max(0, Math.min(end, size) - start))
      await readInto(bytes, handle, path, start)
      if (bytes.byteLength >= WATCHED_BYTES && (await statOf(handle, path)).mtimeMs !== changed)
        throw new FormatError(path, 'was changed while it was read. Run again, on a file that stays as it is')
      return bytes.buffer
    },
    close: () => handle.close(),
  }
}

/** All of a file. @throws as `openRegular`; FormatError where it has more than `limit` bytes */
export const readSmallFile = async (path: string, limit: number): Promise<Uint8Array> =>
  readWhole(await openFile(path), limit)

/** SHA-256 of a file, in hexadecimal. @throws as `openRegular` */
export const sha256 = async (path: string): Promise<string> =>
  (await hashFile(path, createHash('sha256'))).digest('hex')

/** Adds a file, or bytes `start` to `end` of it, to a hash. @throws as `openRegular`; FormatError where it has fewer */
export async function hashFile(path: string, hash: Hash, start = 0, end?: number): Promise<Hash> {
  const { handle, size } = await openRegular(path)
  try {
    const buffer = new Uint8Array(HASHED_BYTES)
    for (let at = start; at < (end ?? size); at += HASHED_BYTES) {
      const part = buffer.subarray(0, (end ?? size) - at)
      await readInto(part, handle, path, at)
      hash.update(part)
    }
    return hash
  } finally {
    await handle.close()
  }
}

/** Fills `target` from a place in an open file, in as many reads as needed. @throws FormatError where the file ends */
export async function readInto(target: Uint8Array, handle: FileHandle, path: string, start: number): Promise<void> {
  for (let done = 0; done < target.byteLength; ) {
    const length = Math.min(MAX_CALL, target.byteLength - done)
    const { bytesRead } = await handle
      .read(target, done, length, start + done)
      .catch(cause => unreadable(path, ` at byte ${start + done}`, cause))
    if (bytesRead === 0)
      throw new FormatError(path, `ended at byte ${start + done} while it was read; was it changed meanwhile?`)
    done += bytesRead
  }
}

/** Writes all of it: the operating system may take less at a time. @throws what that says */
export async function writeAll(bytes: Uint8Array, handle: FileHandle, start: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    const length = Math.min(MAX_CALL, bytes.byteLength - done)
    done += (await handle.write(bytes, done, length, start + done)).bytesWritten
  }
}
