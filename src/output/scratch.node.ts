// A scratch file beside the output, which needs room anyway. It has no name once open: nothing is left after a crash.
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { OutputError } from '../base/errors.ts'
import { said } from '../base/file-errors.node.ts'
import { tellUnfinished, unfinishedPath } from '../base/unfinished.node.ts'
import { readInto, writeAll } from '../formats/file.node.ts'
import type { Scratch } from './activations.ts'
import { Buffers, ReadAhead } from './read-ahead.ts'

/** @param output path of the output; the file is made in its parent folder. @throws OutputError */
export async function openScratch(output: string): Promise<Scratch> {
  const path = unfinishedPath(join(dirname(resolve(output)), '.fasp'))
  const fail = (cause: unknown): never => {
    throw new OutputError(
      `no room for activations beside ${output} (${said(cause)}). ` +
        'Free some disk space, or keep them in memory with a larger --memory.',
      { cause },
    )
  }
  await mkdir(dirname(path), { recursive: true }).catch(fail)
  const handle = await open(path, 'wx+').catch(fail)
  const isGone = await rm(path).then(
    () => true,
    () => false, // Windows keeps an open file's name; there, `close` removes it
  )
  if (isGone) tellUnfinished(path, 'kept')
  return {
    ...scratchIn(handle, path, fail),
    async close() {
      await handle.close()
      if (!isGone) await rm(path, { force: true }).catch(() => {}) // the next run removes it
    },
  }
}

/** Opens the files of a run's activations, which it goes through front to back. @param output as of `openScratch` */
export function activationFiles(output: string): () => Promise<Scratch> {
  const buffers = new Buffers()
  return async () => new ReadAhead(await openScratch(output), buffers)
}

/** An open file as a scratch. @param fail turns what the file system says of a write into an error */
export const scratchIn = (handle: FileHandle, path: string, fail: (cause: unknown) => never): Scratch => ({
  read: (target, offset) => readInto(target, handle, path, offset),
  write: (bytes, offset) => writeAll(bytes, handle, offset).catch(fail),
  close: () => handle.close(),
})
