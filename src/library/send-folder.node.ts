// A folder that the root has made, on every machine: what all ranks go on with.
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { openFile } from '../formats/file.node.ts'
import { attempt } from '../formats/file-errors.node.ts'
import type { Group } from '../group/group.ts'
import { checkSpace, temporaryFolder } from '../write/folder.node.ts'

/** Bytes of a file that are in memory at a time. */
const PART = 2 ** 26

/** Disposed of, what others than the root have of it goes. */
export interface SentFolder extends AsyncDisposable {
  readonly path: string
}

/**
 * The files in a folder of the root: there where they are, elsewhere in a temporary folder.
 * @param path at the root @throws FormatError, OutputError
 */
export async function sendFolder(group: Group, path?: string): Promise<SentFolder> {
  const files = await group.decide(() => list(path!))
  if (group.rank === 0) {
    for (const { name } of files) {
      const file = await openFile(join(path!, name))
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
    return { path: folder, [Symbol.asyncDispose]: remove }
  } catch (error) {
    await remove()
    throw error
  }
}

async function list(path: string): Promise<{ readonly name: string; readonly byteLength: number }[]> {
  const entries = await readdir(path, { withFileTypes: true })
  const files: { name: string; byteLength: number }[] = []
  for (const name of entries.flatMap(entry => (entry.isFile() ? [entry.name] : [])).sort()) {
    const file = await openFile(join(path, name))
    files.push({ name, byteLength: file.byteLength })
    await file.close?.()
  }
  return files
}
