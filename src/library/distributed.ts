// What several processes cannot do together (docs/distributed.md).
import { UsageError } from '../errors.ts'
import type { Group } from '../group/group.ts'
import { checkRange } from '../options.ts'
import { rankMemory } from '../plan.ts'
import type { PreparedRun } from '../run.ts'
import { type RankPlan, rankPlans } from '../scale/plans.ts'

/** Of one of several processes, in their order; 0 is the root. */
export interface PlannedRank extends RankPlan {
  /** Estimate of its peak resident memory in bytes. */
  readonly memoryBytes: number
}

export interface RankOptions {
  /** Plan what each of so many processes does (docs/distributed.md). @default 1 */
  readonly ranks?: number
}

export interface PlannedRanks {
  /** Where there are several: what each process does, by calibration windows, FLOPs, bytes and memory. */
  readonly ranks?: readonly PlannedRank[]
}

/** @param ranks how many @throws UsageError for a number out of range */
export function planRanks(run: PreparedRun, ranks = 1): PlannedRanks {
  checkRange('ranks', ranks, 1, 1e4, true)
  if (ranks === 1) return {}
  const { model, plan, options } = run
  const plans = rankPlans(model.architecture, plan, options, ranks)
  return {
    ranks: plans.map((of, rank) => {
      const does = rank === 0 ? 'all' : of.sparedFlops > 0 ? 'solves' : 'nothing'
      return { ...of, memoryBytes: rankMemory(model, options, of.windows, does) }
    }),
  }
}

/** @throws UsageError for what would need more of the group than it has */
export function checkDistributed({ size }: Pick<Group, 'size'>, common?: object): void {
  if (size > 1 && common)
    throw new UsageError('steps in common are of one process. Leave common out where there is a group.')
}
