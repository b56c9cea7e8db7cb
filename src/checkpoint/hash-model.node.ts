// What tells a model on disk from all others.
import { createHash } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { FormatError } from '../base/errors.ts'
import { said } from '../base/file-errors.node.ts'
import { hashFile } from '../formats/file.node.ts'

/** SHA-256 of a .gguf file, or of all files of a folder, in the order of their names. */
export async function hashModel(local: string): Promise<string> {
  const entries = await namesIn(local)
  const hash = createHash('sha256')
  for (const name of entries.sort()) {
    const path = join(local, name)
    if (!(await reading(path, stat(path))).isFile()) continue // links of the Hub's cache are followed
    hash.update(`${name}\0`)
    await hashFile(path, hash)
  }
  return hash.digest('hex')
}

const namesIn = async (local: string): Promise<string[]> =>
  (await reading(local, stat(local))).isDirectory() ? reading(local, readdir(local)) : ['']

/** @throws FormatError that names the path */
const reading = <T>(path: string, found: Promise<T>): Promise<T> =>
  found.catch(cause => {
    throw new FormatError(path, `cannot be read (${said(cause)}). Was it moved while it was read?`, { cause })
  })
