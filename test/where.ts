// Suites that need what a machine, or a container, may not let them do.
import { execFileSync } from 'node:child_process'
import { describe } from 'vitest'

/** `describe` where `attempt`, a command, ends well, or a visible skip. @param what it needs */
export function describeWhere(what: string, attempt: () => readonly string[]) {
  const missing = reason(what, attempt)
  return (name: string, suite: () => void): void => {
    if (missing) console.warn(missing)
    describe.skipIf(missing !== undefined)(`${name}${missing ? ` (${missing})` : ''}`, suite)
  }
}

/** Why there are none here. */
function reason(what: string, attempt: () => readonly string[]): string | undefined {
  try {
    const [command, ...args] = attempt()
    execFileSync(command, args, { stdio: 'pipe' })
    return undefined
  } catch (error) {
    return `no ${what} here: ${String(error).split('\n')[0]}`
  }
}
