// What a file system says, in words that tell the user what to do.
import { FaspError, OutputError } from './errors.ts'

const REASONS: Readonly<Record<string, string>> = {
  ENOSPC: 'the disk is full; free some space or choose another folder',
  EDQUOT: 'the disk quota is used up; free some space or choose another folder',
  EFBIG: 'files of this size are not allowed here; raise the limit (ulimit -f) or choose another folder',
  ENAMETOOLONG: 'the name is too long; choose a shorter one',
  // Node says this of folders on a read-only disk, too.
  ENOENT: 'a part of the path does not exist, or cannot be made; choose another folder',
  EEXIST: 'a part of the path is a file; choose another folder',
  ENOTEMPTY: 'another run has put its output there; choose another folder',
  EACCES: 'permission denied; choose a folder that you may write to',
  EPERM: 'permission denied; choose a folder that you may write to',
  EROFS: 'the file system is read-only; choose another folder',
  ENOTDIR: 'a part of the path is a file; choose another folder',
}

/** Of a disk that fails, or of a share that is not to be reached. */
const BROKEN: Readonly<Record<string, string>> = {
  EIO: 'the disk has failed to do it (EIO); see whether it and its connection are sound',
  ESTALE: 'the share has lost the file (ESTALE); mount it again',
  ETIMEDOUT: 'the share does not answer (ETIMEDOUT); see whether it and its connection are sound',
}

/** What the file system says of reading. */
export const said = (cause: unknown): string => {
  const { code = '', message = String(cause) } = cause as NodeJS.ErrnoException
  return BROKEN[code] ?? message
}

/** Turns what the file system says into an OutputError: `cannot ${what}: …`. */
export async function attempt<T>(what: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action()
  } catch (error) {
    if (error instanceof FaspError) throw error
    const { code = '' } = error as NodeJS.ErrnoException
    throw new OutputError(`cannot ${what}: ${REASONS[code] ?? said(error)}.`, { cause: error })
  }
}
