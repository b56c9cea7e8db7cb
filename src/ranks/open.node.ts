// The group that this process is of, by what the user says and what has started it.
import { UsageError } from '../base/errors.ts'
import { isOneOfSeveral, launchedBy } from '../base/launcher.ts'
import { ALONE, type Group } from './group.ts'
import { type MpiOptions, openMpi } from './mpi.node.ts'

/** @param mpi `auto`: where a launcher started several processes; `off`; or a library. @throws UsageError */
export function openGroup(mpi = 'auto', options?: MpiOptions): Group {
  if (mpi === '') throw new UsageError('mpi is empty. It is auto, off, or the path of an MPI library.')
  if (mpi === 'off') return ALONE
  const launched = launchedBy(process.env)
  if (mpi === 'auto' && !isOneOfSeveral(launched)) return ALONE
  return openMpi(mpi, launched, options)
}
