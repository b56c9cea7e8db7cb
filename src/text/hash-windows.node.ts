// What tells windows that are given ready made from others.
import { createHash } from 'node:crypto'
import type { Windows } from './windows.ts'

/** The SHA-256 of their ids, and of those held out, in hexadecimal. */
export function hashWindows({ windows, heldOut = [] }: Windows): string {
  const hash = createHash('sha256')
  for (const ids of [...windows, ...heldOut]) hash.update(ids)
  return hash.digest('hex')
}
