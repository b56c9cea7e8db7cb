// Where pip puts packages that hold libraries.
import { readdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'

/** Folders of Pythons: an active virtual environment, the user's, the system's. */
export function pythonRoots(): string[] {
  const { VIRTUAL_ENV } = process.env
  return [...(VIRTUAL_ENV ? [VIRTUAL_ENV] : []), join(homedir(), '.local'), '/usr/local', '/usr']
}

/** Folders of Python packages, whether or not they exist. */
export const packageFolders = (): string[] =>
  pythonRoots().flatMap(root =>
    entries(join(root, 'lib'))
      .filter(name => name.startsWith('python3'))
      .flatMap(python => ['site-packages', 'dist-packages'].map(kind => join(root, 'lib', python, kind))),
  )

/** Names in a folder; none where it does not exist. */
export function entries(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
