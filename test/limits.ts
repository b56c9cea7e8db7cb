// Memory limits for the binary, as `wrap` of fasp.ts.
import { readFileSync } from 'node:fs'

export const withAddressSpace = (gigabytes: number) => [
  ...['bash', '-c', `ulimit -v ${Math.round(gigabytes * 1e6)} && exec "$@"`, 'limited'],
]

/** The memory controller's folder of this process, version 1 or 2 (cgroups(7)), and the name of the limit. */
function ownGroup(): [folder: string, limit: string] {
  const groups = readFileSync('/proc/self/cgroup', 'utf8')
  const first = /^\d+:memory:(.*)$/m.exec(groups)?.[1]
  if (first !== undefined) return [`/sys/fs/cgroup/memory${first}`, 'memory.limit_in_bytes']
  return [`/sys/fs/cgroup${/^0::(.*)$/m.exec(groups)?.[1]}`, 'memory.max']
}

/** Runs in a new cgroup below that of this process, which goes again. */
export function inCgroup(megabytes: number): string[] {
  const [own, limit] = ownGroup()
  const script = `group=${own}/fasp-$$; mkdir $group && trap 'rmdir $group' EXIT
    echo ${Math.round(megabytes * 1e6)} > $group/${limit} && (echo $BASHPID > $group/cgroup.procs && exec "$@")`
  return ['bash', '-c', script, 'limited']
}
