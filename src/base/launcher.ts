// Launchers tell each process that they start how many there are, by variables of its environment.
import { UsageError } from './errors.ts'

/** A launcher ends all processes when one ends early. The root removes its output: it ends first, by this time. */
export const LEAD_MS = 1500
/** They pass on what a rank says, but what is on its way when it ends all may be lost. */
export const PASSED_ON_MS = 300

export interface Launched {
  /** What has started this process. */
  readonly by: string
  /** Processes that it has started. Undefined where it does not say. */
  readonly size?: number
  readonly rank: number
}

/** The size and the rank. In this order: mpirun starts its own daemons by srun, whose variables are theirs. */
const VARIABLES: readonly (readonly [by: string, size: string | undefined, rank: string])[] = [
  ['Open MPI', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_RANK'],
  ['MVAPICH', 'MV2_COMM_WORLD_SIZE', 'MV2_COMM_WORLD_RANK'],
  ['MPICH', 'PMI_SIZE', 'PMI_RANK'], // Hydra; Intel MPI; srun --mpi=pmi2
  ['Slurm', 'SLURM_STEP_NUM_TASKS', 'SLURM_PROCID'], // of srun; in a batch script only SLURM_NTASKS is there
  ['PMIx', undefined, 'PMIX_RANK'],
]

/** Undefined where no launcher has started this process. */
export function launchedBy(env: Readonly<Record<string, string | undefined>>): Launched | undefined {
  for (const [by, sizeName, rankName] of VARIABLES) {
    const size = sizeName && natural(env[sizeName])
    const rank = natural(env[rankName])
    if (sizeName ? size : rank !== undefined) return { by, size: size || undefined, rank: rank ?? 0 }
  }
  return undefined
}

/** Whether it is one of several, as far as can be told. */
export const isOneOfSeveral = (launched: Launched | undefined): launched is Launched =>
  launched !== undefined && launched.size !== 1

/** For what works in one process. @throws UsageError where a launcher has started several */
export function refuseSeveral(command: string): void {
  const launched = launchedBy(process.env)
  if (!isOneOfSeveral(launched)) return
  const several = launched.size ? `${launched.size} processes` : 'several processes'
  throw new UsageError(
    `${command} works in one process, and ${launched.by} has started ${several}. Run it without mpirun or srun.`,
  )
}

const natural = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined
