// Where tests find the models, tokenizers and oracles that are too large or not ours to commit.
// The folder is `FASP_SHARED`, or `shared` beside the repository. Suites that need it use `describeShared`:
// without the folder they are skipped, say so in their name, and warn once.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe } from 'vitest'

const root = process.env.FASP_SHARED ?? fileURLToPath(new URL('../../shared', import.meta.url))
const present = existsSync(root)
let warned = false

/** Path of a file or folder inside the shared folder, or undefined where there is none. */
export function shared(path: string): string | undefined {
  const full = join(root, path)
  return existsSync(full) ? full : undefined
}

/** Like `shared`, for the inside of `describeShared`. @throws Error where the file is missing from a folder that exists. */
export function sharedPath(path: string): string {
  const full = shared(path)
  if (full === undefined)
    throw new Error(`${path} is missing from the shared folder ${root}; set FASP_SHARED to a complete one`)
  return full
}

/** `describe`, or a visible skip where the shared folder is absent. */
export function describeShared(name: string, suite: () => void): void {
  if (present) {
    describe(name, suite)
    return
  }
  if (!warned)
    console.warn(`No shared folder at ${root}: suites that need it are skipped. Set FASP_SHARED to run them.`)
  warned = true
  describe.skip(`${name} (needs ../shared)`, suite)
}
