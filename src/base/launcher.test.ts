import { expect, test } from 'vitest'
import { isOneOfSeveral, launchedBy } from './launcher.ts'

test.each([
  [{}, undefined, false],
  [{ PATH: '/bin' }, undefined, false],
  [{ OMPI_COMM_WORLD_SIZE: '4', OMPI_COMM_WORLD_RANK: '3' }, { by: 'Open MPI', size: 4, rank: 3 }, true],
  [{ OMPI_COMM_WORLD_SIZE: '1', OMPI_COMM_WORLD_RANK: '0' }, { by: 'Open MPI', size: 1, rank: 0 }, false],
  [{ PMI_SIZE: '2', PMI_RANK: '1' }, { by: 'MPICH', size: 2, rank: 1 }, true],
  [{ MV2_COMM_WORLD_SIZE: '2', MV2_COMM_WORLD_RANK: '1' }, { by: 'MVAPICH', size: 2, rank: 1 }, true],
  [{ PMIX_RANK: '1' }, { by: 'PMIx', rank: 1 }, true],
  // srun with and without PMI; a batch script, which is one process.
  [{ SLURM_STEP_NUM_TASKS: '8', SLURM_PROCID: '5' }, { by: 'Slurm', size: 8, rank: 5 }, true],
  [{ SLURM_STEP_NUM_TASKS: '8', SLURM_PROCID: '5', PMIX_RANK: '5' }, { by: 'Slurm', size: 8, rank: 5 }, true],
  [{ SLURM_NTASKS: '8', SLURM_PROCID: '0' }, undefined, false],
  // mpirun whose daemons came by srun, one a host.
  [
    { OMPI_COMM_WORLD_SIZE: '64', OMPI_COMM_WORLD_RANK: '9', SLURM_STEP_NUM_TASKS: '4', SLURM_PROCID: '1' },
    { by: 'Open MPI', size: 64, rank: 9 },
    true,
  ],
  [{ PMI_SIZE: 'many' }, undefined, false],
])('%o', (env, launched, several) => {
  expect(launchedBy(env)).toEqual(launched)
  expect(isOneOfSeveral(launchedBy(env))).toBe(several)
})
