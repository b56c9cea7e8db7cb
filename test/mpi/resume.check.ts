// `--resume` after a rank was killed, under a real MPI: to the bytes of a run that nobody disturbed, and with another number of ranks.
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { CLI, putModel, snapshot, workplaces } from '../fasp.ts'
import { LAUNCHERS, runAll } from './launchers.ts'

const place = workplaces()
const CALIBRATION = ['--calibration', 'text.txt', '--windows', '7', '--seq-len', '32', '--held-out', '2']
const ASKED = [
  'model',
  '-s',
  '0.3',
  '--method',
  'best',
  ...CALIBRATION,
  '--threads',
  '1',
  '--save-every',
  '0',
  '-o',
  'out',
]
const [{ mpirun, mpi }] = LAUNCHERS
const fasp = [process.execPath, CLI, 'prune', ...ASKED]
const commandOf = (ranks: number) => [...mpirun, '-n', `${ranks}`, ...fasp, '--mpi', mpi]

/** The process id of a rank that runs in `folder`. */
const processOf = (folder: string, rank: number) =>
  readdirSync('/proc').find(pid => {
    try {
      if (!/^\d+$/.test(pid) || readlinkSync(`/proc/${pid}/cwd`) !== folder) return false
      return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`\0OMPI_COMM_WORLD_RANK=${rank}\0`)
    } catch {
      return false // it has gone
    }
  })

/** The manifests of states in `folder`, which name what was done. */
const statesIn = (folder: string) =>
  readdirSync(folder)
    .map(name => join(folder, name, 'state/manifest.json'))
    .filter(path => existsSync(path))
const isDone = (folder: string, step: string) =>
  statesIn(folder).some(path => readFileSync(path, 'utf8').includes(`"${step}"`))

const contents = async (folder: string) => {
  const all = await snapshot(join(folder, 'out'))
  await rm(join(folder, 'out'), { recursive: true })
  return all
}

/** Kills a rank when a step is saved. */
async function killed(folder: string, ranks: number, victim: number, step: string): Promise<void> {
  const running = runAll(commandOf(ranks), folder)
  let over = false
  void running.finally(() => (over = true))
  while (!over && !isDone(folder, step)) await sleep(5)
  const pid = processOf(folder, victim)
  expect(pid, 'a rank that runs').toBeDefined()
  process.kill(Number(pid), 'SIGKILL')
  const { code, stderr } = await running
  expect(code, stderr).not.toBe(0)
  expect(existsSync(join(folder, 'out'))).toBe(false)
}

test('a run of which a rank was killed goes on', { timeout: 300_000 }, async () => {
  const folder = await place()
  await putModel(folder)
  const first = await runAll(commandOf(2), folder)
  expect(first.code, first.stderr).toBe(0)
  const whole = await contents(folder)
  await killed(folder, 2, 1, 'ffn 2')
  const again = await runAll([...commandOf(2), '--resume'], folder)
  expect(again.code, again.stderr).toBe(0)
  expect(again.stderr).toMatch(/Goes on after (ffn|attention) \d/)
  expect(await contents(folder)).toEqual(whole)
  await killed(folder, 3, 0, 'sensitivity of ffn 1')
  for (const command of [
    [...commandOf(2), '--resume', '--method', 'stock'],
    [...fasp, '--resume'],
  ]) {
    const { code, stderr } = await runAll(command, folder)
    const isOther = command.includes('stock')
    expect(code, stderr).toBe(isOther ? 2 : 0)
    expect(stderr).toMatch(isOther ? /fasp: .* holds the state of another run/ : /Goes on after sensitivity/)
  }
  expect(statesIn(folder)).toEqual([])
})
