// Small and read-only disks for the binary: mounts that only the process below them sees.
import { describeWhere } from './where.ts'

/** `describe`, or a visible skip where nothing can be mounted. */
export const describeDisk = describeWhere('mounts', () => ['unshare', '-m', 'mount', '-t', 'tmpfs', 'none', '/mnt'])

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
