// The launchers that .ci/mpi.sh installs, one for each ABI of MPI.
import { type ChildProcess, spawn } from 'node:child_process'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { someOf } from '../nightly.ts'

const STANDARD = process.env.FASP_MPI_ABI ?? join(homedir(), '.cache/fasp-ci/mpi')

export interface Launcher {
  readonly name: string
  readonly mpirun: readonly string[]
  /** What `--mpi` is given. */
  readonly mpi: string
}

export const ALL_LAUNCHERS: readonly Launcher[] = [
  {
    name: 'Open MPI',
    mpirun: ['mpirun.openmpi', '--oversubscribe', '--allow-run-as-root', '--bind-to', 'none'],
    mpi: 'auto',
  },
  { name: 'MPICH', mpirun: ['mpirun.mpich'], mpi: 'auto' },
  {
    name: 'the standard ABI',
    mpirun: [join(STANDARD, 'bin/mpiexec')],
    mpi: join(STANDARD, 'lib/libmpi_abi.so.1'),
  },
]

/** Open MPI stands for all; nightly all of them. The three differ in their ABIs, which `group.check.ts` tests in every run. */
export const LAUNCHERS = someOf(ALL_LAUNCHERS, (_, i) => i === 0)

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  readonly seconds: number
}

/** More than any run here takes. */
const LIMIT_MS = 90_000

/** Runs a command to its end, which is soon. */
export async function runAll(
  command: readonly string[],
  cwd: string,
  more: NodeJS.ProcessEnv = {},
  onStart?: (child: ChildProcess) => void,
): Promise<Ended> {
  const started = performance.now()
  const child = spawn(command[0], command.slice(1), { cwd, env: { ...process.env, FASP_LOG: '', ...more } })
  let [stdout, stderr] = ['', '']
  const timer = setTimeout(() => child.kill(), LIMIT_MS)
  onStart?.(child)
  child.stdin.end()
  child.stdout.setEncoding('utf8').on('data', text => (stdout += text))
  child.stderr.setEncoding('utf8').on('data', text => (stderr += text))
  const code = await new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve))
  clearTimeout(timer)
  return { code, stdout, stderr, seconds: (performance.now() - started) / 1000 }
}
