// Where pip puts packages, for libraries that come in them.
import { readdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** Where a Python may be: a virtual environment that is entered, the user's own, the system's. */
export function pythonRoots(): string[] {
  const { VIRTUAL_ENV } = process.env
  return [...(VIRTUAL_ENV ? [VIRTUAL_ENV] : []), join(homedir(), '.local'), '/usr/local', '/usr']
}

/** Folders of packages below them, whether they are there or not. */
export const packageFolders = (): string[] =>
  pythonRoots().flatMap(root =>
    entries(join(root, 'lib'))
      .filter(name => name.startsWith('python3'))
      .flatMap(python => ['site-packages', 'dist-packages'].map(kind => join(root, 'lib', python, kind))),
  )

/** None where it is not there. */
export function entries(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
