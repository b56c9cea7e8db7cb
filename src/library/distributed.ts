// What several processes cannot do together yet (docs/distributed.md).
import { UsageError } from '../errors.ts'
import type { Group } from '../group/group.ts'
import { expertsOf } from '../model/architecture.ts'
import type { PreparedRun } from '../run.ts'

/** @throws UsageError for what would need more of the group than it has, or would wait without end */
export function checkDistributed(
  { size }: Group,
  { model, options, method }: Pick<PreparedRun, 'model' | 'options' | 'method'>,
  common?: object,
): void {
  if (size === 1) return
  const alone = 'Run it in one process.'
  if (expertsOf(model.architecture) > 0)
    throw new UsageError(`a mixture of experts is not pruned by several processes yet. ${alone}`)
  if (options.allocate === 'perplexity')
    throw new UsageError(`method ${method.name} is not run by several processes yet. ${alone}`)
  if (common) throw new UsageError('steps in common are of one process. Leave common out where there is a group.')
}
