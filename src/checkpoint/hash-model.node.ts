// What tells a model on disk from all others. Used by comparisons and by recipes.
import { createHash } from 'node:crypto'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { hashFile } from '../formats/file.node.ts'

/** SHA-256 of a .gguf file, or of all files of a folder, in the order of their names. */
export async function hashModel(local: string): Promise<string> {
  const folder = (await stat(local)).isDirectory()
  const entries = folder ? await readdir(local) : ['']
  const hash = createHash('sha256')
  for (const name of entries.sort()) {
    const path = join(local, name)
    if (!(await stat(path)).isFile()) continue // links of the Hub's cache are followed
    hash.update(`${name}\0`)
    await hashFile(path, hash)
  }
  return hash.digest('hex')
}
