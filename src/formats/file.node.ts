// A file on disk as a handle, as a `ByteSource`, whole, or as its hash: the only place where files that users name are opened for reading.
import { createHash, type Hash } from 'node:crypto'
import { constants, type FileHandle, open } from 'node:fs/promises'
import { FormatError } from '../errors.ts'
import { type ByteSource, readWhole } from './bytes.ts'

/** The operating system reads at most 2^31 − 4096 bytes in one call. */
const MAX_READ = 2 ** 30

/**
 * Opens a regular file, and nothing else: from a pipe (`<(…)` is one), a socket or a device one could wait for ever.
 * @throws FormatError where it is missing, unreadable or no regular file
 */
export async function openRegular(path: string): Promise<{ handle: FileHandle; size: number; changed: number }> {
  // Without O_NONBLOCK, which regular files ignore and Windows lacks, opening a pipe waits for its other end.
  const handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch(cause => {
    if (cause.code === 'ENOENT') throw new FormatError(path, 'no such file', { cause })
    if (cause.code === 'ENXIO') throw irregular(path) // a socket
    throw new FormatError(path, `cannot be opened (${reason(cause)}); check the path and its permissions`, { cause })
  })
  try {
    const stat = await handle.stat()
    if (!stat.isFile()) throw irregular(path)
    return { handle, size: stat.size, changed: stat.mtimeMs }
  } catch (error) {
    await handle.close()
    throw error
  }
}

const irregular = (path: string) => new FormatError(path, 'is no regular file, but a folder, pipe, socket or device')

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
      const bytes = await read(handle, path, start, Math.min(end, size))
      if (bytes.byteLength >= WATCHED_BYTES && (await handle.stat()).mtimeMs !== changed)
        throw new FormatError(path, 'was changed while it was read. Run again, on a file that stays as it is')
      return bytes
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

/** Adds a file to a hash. @throws as `openRegular` */
export async function hashFile(path: string, hash: Hash): Promise<Hash> {
  const { handle } = await openRegular(path)
  for await (const chunk of handle.createReadStream({ highWaterMark: HASHED_BYTES })) hash.update(chunk)
  return hash
}

async function read(handle: FileHandle, path: string, start: number, end: number): Promise<ArrayBuffer> {
  const buffer = new ArrayBuffer(Math.max(0, end - start))
  for (let at = 0; at < buffer.byteLength; ) {
    const rest = new Uint8Array(buffer, at, Math.min(MAX_READ, buffer.byteLength - at))
    const { bytesRead } = await handle.read(rest, 0, rest.byteLength, start + at).catch(cause => {
      throw new FormatError(path, `cannot be read at byte ${start + at} (${reason(cause)})`, { cause })
    })
    if (bytesRead === 0)
      throw new FormatError(path, `ended at byte ${start + at} while it was read; was it changed meanwhile?`)
    at += bytesRead
  }
  return buffer
}

const reason = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
