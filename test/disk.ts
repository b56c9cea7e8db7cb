// Small and read-only disks for the binary: mounts that only the process below them sees.
import { execFileSync } from 'node:child_process'
import { describe } from 'vitest'

/** The reason why there are none here. */
const noMount = (() => {
  try {
    execFileSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/mnt'], { stdio: 'pipe' })
    return undefined
  } catch (error) {
    return `no mounts here: ${String(error).split('\n')[0]}`
  }
})()

/** `describe`, or a visible skip where nothing can be mounted. */
export function describeDisk(name: string, suite: () => void): void {
  if (noMount) console.warn(noMount)
  describe.skipIf(noMount !== undefined)(`${name}${noMount ? ` (${noMount})` : ''}`, suite)
}

/**
 * For `wrap`: runs in a mount namespace of its own with a tmpfs at `disk`.
 * @param leftovers print names of files that are left on the disk, as last lines of stderr
 */
export const onDisk = (options: string, leftovers = true) => [
  'unshare',
  '-m',
  'bash',
  '-c',
  `mount -t tmpfs -o ${options} none disk && "$@"; code=$?
   ${leftovers ? "ls -A disk | sed 's/^/left on the disk: /' >&2" : ':'}; exit $code`,
  'mounted',
]
