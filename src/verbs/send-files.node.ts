// Files of the root, on every machine: what it has made and all ranks go on with, or a model that the others lack.
import { readdir, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { attempt } from '../base/file-errors.node.ts'
import { temporaryFolder } from '../base/unfinished.node.ts'
import { openFile } from '../formats/file.node.ts'
import { checkSpace } from '../output/folder.node.ts'
import type { Group } from '../ranks/group.ts'

/** Bytes of a file that are in memory at a time. */
const PART = 2 ** 26

/** Disposed of, what others than the root have of it goes. */
export interface SentFiles extends AsyncDisposable {
  readonly path: string
}

/**
 * A file of the root, or the files in a folder of it: there where they are, elsewhere in a temporary folder.
 * @param path at the root @throws FormatError, OutputError
 */
export async function sendFiles(group: Group, path?: string): Promise<SentFiles> {
  const { files, single } = await group.decide(() => list(path!))
  if (group.rank === 0) {
    for (const { name } of files) {
      const file = await openFile(single ? path! : join(path!, name))
      try {
        for (let from = 0; from < file.byteLength; from += PART)
          await group.decide(async () => new Uint8Array(await file.slice(from, from + PART)))
      } finally {
        await file.close?.()
      }
    }
    return { path: path!, [Symbol.asyncDispose]: async () => {} }
  }
  const folder = await temporaryFolder('fasp-of-root')
  const remove = () => rm(folder, { recursive: true, force: true })
  try {
    const bytes = files.reduce((sum, file) => sum + file.byteLength, 0)
    await checkSpace('What the root sends', folder, bytes)
    for (const { name, byteLength } of files) {
      await attempt(`write ${name}`, () => writeFile(join(folder, name), ''))
      for (let from = 0; from < byteLength; from += PART) {
        const part = await group.decide(() => new Uint8Array())
        await attempt(`write ${name}`, () => writeFile(join(folder, name), part, { flag: 'a' }))
      }
    }
    return { path: single ? join(folder, files[0].name) : folder, [Symbol.asyncDispose]: remove }
  } catch (error) {
    await remove()
    throw error
  }
}

async function list(path: string) {
  const single = (await stat(path)).isFile()
  const folder = single ? dirname(path) : path
  const files: { name: string; byteLength: number }[] = []
  for (const name of single ? [basename(path)] : (await readdir(path)).sort()) {
    const found = await stat(join(folder, name)) // links count as what they lead to: the Hub's cache holds such
    if (found.isFile()) files.push({ name, byteLength: found.size })
  }
  return { files, single }
}
