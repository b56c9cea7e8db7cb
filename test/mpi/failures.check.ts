// What goes wrong with one rank, or with all: every rank ends soon, one message says which it was, and nothing is half-written.
import type { ChildProcess } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { CLI, putModel, snapshot, workplaces } from '../fasp.ts'
import { random } from '../random.ts'
import { type Ended, LAUNCHERS, type Launcher, runAll } from './launchers.ts'

const place = workplaces()

/** What a rank has from the moment that another is killed, and a launcher that is. */
const SOON_MS = 10_000
const CALIBRATION = ['--calibration', 'text.txt', '--windows', '7', '--seq-len', '32', '--held-out', '2']
const HOW = ['--threads', '1', '--quiet', '--save-every', '1000']
const ASKED = ['model', '-s', '0.3', '--method', 'plain', ...CALIBRATION, ...HOW, '-o', 'out']

const commandOf = ({ mpirun, mpi }: Launcher, ranks: number, ...more: readonly string[]) => [
  ...[...mpirun, '-n', `${ranks}`, process.execPath, CLI, 'prune', ...ASKED, '--mpi', mpi, ...more],
]

/** As `commandOf` on two ranks, of which one meets a fault (test/faults/inject.js). @param log of what it calls */
const faultyCommand = ({ mpirun, mpi }: Launcher, rank: number, fault: object, log: string, ...more: string[]) => {
  const hook = fileURLToPath(new URL('../faults/inject.js', import.meta.url))
  const how = [`FASP_FAULT=${JSON.stringify(fault)}`, `FASP_FAULT_LOG=${log}`]
  const faulty = ['env', `NODE_OPTIONS=--import=${hook}`, ...how]
  const one = (own: number) => ['-n', '1', ...(own === rank ? faulty : []), process.execPath, CLI, 'prune', ...ASKED]
  return [...mpirun, ...one(0), ...more, '--mpi', mpi, ':', ...one(1), ...more, '--mpi', mpi]
}

/** What a process is asked that may have gone. */
const orNothing = (ask: () => string | boolean) => {
  try {
    return `${ask()}`
  } catch {
    return ''
  }
}

/** Process ids of all that run in `folder`: ranks by their number, launchers and what they start under -1 and below. */
function processesIn(folder: string): Map<number, number> {
  const pids = readdirSync('/proc').filter(name => /^\d+$/.test(name) && Number(name) !== process.pid)
  const found = pids.filter(pid => orNothing(() => readlinkSync(`/proc/${pid}/cwd`)) === folder)
  return new Map(
    found.map((pid, i) => {
      const isRank = orNothing(() => readFileSync(`/proc/${pid}/cmdline`, 'utf8')).startsWith(`${process.execPath}\0`)
      const env = isRank ? orNothing(() => readFileSync(`/proc/${pid}/environ`, 'utf8')) : ''
      const [, rank] = /(?:^|\0)(?:OMPI_COMM_WORLD|PMI)_RANK=(\d+)/.exec(env) ?? []
      return [rank === undefined ? -1 - i : Number(rank), Number(pid)]
    }),
  )
}

/** Of a folder the files in `out`, and whatever else is there: neither the text nor the model. */
async function made(folder: string) {
  const all = (await snapshot(folder)).map(line => line.slice(folder.length + 1))
  const isOf = (name: string) => (line: string) => line === name || line.startsWith(`${name}/`)
  const others = readdirSync(folder).filter(name => !['model', 'text.txt', 'out'].includes(name))
  return { given: all.filter(isOf('model')), out: all.filter(isOf('out')), others }
}

/** That all have ended by `since` and SOON_MS, with one message, and left nothing. */
async function expectEnded(folder: string, before: readonly string[], ended: Ended, since: number): Promise<string> {
  const { code, stderr, stdout } = ended
  while (processesIn(folder).size > 0 && performance.now() - since < SOON_MS) await sleep(20)
  expect(performance.now() - since, stderr).toBeLessThan(SOON_MS)
  expect(processesIn(folder).size, stderr).toBe(0)
  expect(code, stderr).not.toBe(0)
  expect(stdout).not.toMatch(/^Wrote/m) // some launchers write there
  const said = stderr.split('\n').filter(line => line.startsWith('fasp: '))
  expect(said.length, stderr).toBe(1)
  expect(await snapshot(folder), stderr).toEqual(before)
  return said[0]
}

/** All deep in a half-block. */
const FAULTS = [
  [
    'a full disk at rank 1',
    1,
    { kind: 'write', at: 20, how: 'ENOSPC' },
    /^fasp: rank 1 of 2: no room for activations .*ENOSPC/,
  ],
  [
    'a full disk at the root',
    0,
    { kind: 'write', at: 60, how: 'ENOSPC' },
    /^fasp: cannot write .* of out: the disk is full/,
  ],
  ['a read that fails at rank 1', 1, { kind: 'read', at: 100, how: 'EIO' }, /^fasp: rank 1 of 2: .*EIO/],
] as const

describe.each(LAUNCHERS)('under $name', launcher => {
  test.each(FAULTS.slice(0, launcher === LAUNCHERS[0] ? undefined : 1))('%s', async (_, rank, fault, says) => {
    const folder = await place()
    await putModel(folder)
    const before = await snapshot(folder)
    const log = join(await place(), 'calls')
    let over = false
    const running = runAll(faultyCommand(launcher, rank, fault, log, '--memory', '0'), folder, { TMPDIR: folder })
    void running.finally(() => (over = true))
    const hasFailed = () => orNothing(() => readFileSync(log, 'utf8')).includes(' !\n')
    while (!over && !hasFailed()) await sleep(20)
    const failed = performance.now()
    const ended = await running
    expect(hasFailed(), ended.stderr).toBe(true)
    expect(await expectEnded(folder, before, ended, failed)).toMatch(says)
  })

  test.each(['SIGINT', 'SIGTERM'] as const)('%s to the launcher', async signal => {
    const folder = await place()
    await putModel(folder)
    const before = await snapshot(folder)
    let launched: ChildProcess
    const running = runAll(
      [...commandOf(launcher, 3), '--method', 'best', '--windows', '64', '--seq-len', '64'],
      folder,
      {},
      child => (launched = child),
    )
    while (!readdirSync(folder).some(name => name.endsWith('.partial'))) await sleep(20)
    await sleep(100)
    const told = performance.now()
    launched!.kill(signal)
    expect(await expectEnded(folder, before, await running, told)).toBe(
      'fasp: interrupted; unfinished output was removed.',
    )
  })
})

/** One rank for each launcher, and two for the first. Where it is the root that is gone, it cannot clear up before it is killed. */
const victims = (ofFirst: readonly number[]) =>
  LAUNCHERS.flatMap((launcher, i) => (i === 0 ? ofFirst : [1]).map(victim => ({ ...launcher, launcher, victim })))

/** From the moment that `stop` comes to on: all end in time, and say of the victim what they should. */
async function expectNamed(
  folder: string,
  {
    command,
    victim,
    env,
  }: { readonly command: readonly string[]; readonly victim: number; readonly env?: NodeJS.ProcessEnv },
  stop: (over: () => boolean) => Promise<void>,
  says: string,
  limit: number,
) {
  await putModel(folder)
  const before = await snapshot(folder)
  let over = false
  const running = runAll(command, folder, env)
  void running.finally(() => (over = true))
  await stop(() => over)
  const stopped = performance.now()
  const { code, stderr } = await running
  while (processesIn(folder).size > 0 && performance.now() - stopped < limit) await sleep(20)
  expect(performance.now() - stopped, stderr).toBeLessThan(limit)
  expect(processesIn(folder).size, stderr).toBe(0)
  expect(code, stderr).not.toBe(0)
  const said = stderr.split('\n').filter(line => line.startsWith('fasp: rank'))
  expect(said, stderr).toEqual([expect.stringMatching(says)])
  if (victim > 0) expect(await snapshot(folder)).toEqual(before)
}

/** With it the root waits for 4 seconds, and the next rank 5 more. */
const TIMEOUT = ['--mpi-timeout', '4s']

test.each(victims([0, 2]))('a process that is stopped is named, and all end: rank $victim, $name', async rank => {
  const folder = await place()
  const command = commandOf(rank.launcher, 3, '--method', 'best', '--windows', '64', ...TIMEOUT)
  const stop = async (over: () => boolean) => {
    while (!over() && !readdirSync(folder).some(name => name.endsWith('.partial'))) await sleep(20)
    process.kill(processesIn(folder).get(rank.victim)!, 'SIGSTOP')
  }
  const says = `^fasp: rank ${rank.victim} of 3: no sign of life for [49].0 s, and others`
  await expectNamed(folder, { ...rank, command }, stop, says, 9000 + SOON_MS)
})

const HANG = { kind: 'read', at: 100, how: 'hang' }

/** Comes back when the fault has been met. */
const untilMet = async (log: string, over: () => boolean) => {
  while (!over() && !orNothing(() => readFileSync(log, 'utf8')).includes(' !\n')) await sleep(20)
}

test.each(victims([0, 1]))('a rank that does not get on is named, and all end: rank $victim, $name', async rank => {
  const [folder, log] = [await place(), join(await place(), 'calls')]
  const command = faultyCommand(rank.launcher, rank.victim, HANG, log, ...TIMEOUT)
  const says = `^fasp: rank ${rank.victim} of 2: no sign of life for [49].0 s, and others`
  await expectNamed(folder, { ...rank, command }, over => untilMet(log, over), says, 9000 + SOON_MS)
})

/** FASP_SEED: other moments and ranks (default 1). FASP_KILLS: so many of them, and what came of each. */
const SEED = Number(process.env.FASP_SEED ?? 1)
const KILLS = Number(process.env.FASP_KILLS ?? 4)

describe.each(LAUNCHERS.map((launcher, i) => ({ ...launcher, launcher, kills: i === 0 ? KILLS : 3 })))(
  'under $name',
  ({ launcher, kills }) => {
    test(`a rank that is killed ends all, and what is there is as before or whole: ${kills} moments, seed ${SEED}`, {
      timeout: 60_000 * kills,
    }, async () => {
      const folder = await place()
      await putModel(folder)
      const { given } = await made(folder)
      const ranks = kills > 3 ? 2 : 3
      const undisturbed = async () => {
        const { code, stderr, seconds } = await runAll(commandOf(launcher, ranks), folder)
        expect(code, stderr).toBe(0)
        const { out, others } = await made(folder)
        expect(others, 'what a killed root leaves goes with the next run').toEqual([])
        await rm(join(folder, 'out'), { recursive: true })
        return { out, seconds }
      }
      const whole = await undisturbed()
      const chances = random(2 * kills, SEED).map(value => (value + 1) / 2)
      const ended: string[] = []
      for (let i = 0; i < kills; i++) {
        const moment = (1000 * whole.seconds * (i + chances[2 * i])) / kills
        const victim = Math.floor(ranks * chances[2 * i + 1])
        const running = runAll(commandOf(launcher, ranks), folder)
        let over = false
        void running.finally(() => (over = true))
        await Promise.race([running, sleep(moment)])
        let pid: number | undefined
        while (!over && !(pid = processesIn(folder).get(victim))) await sleep(20) // it has not begun yet
        const killed = performance.now()
        if (pid) orNothing(() => process.kill(pid, 'SIGKILL'))
        const { code, stderr } = await running
        const what = `rank ${victim} of ${ranks} after ${Math.round(moment)} ms, seed ${SEED}: ${code} ${stderr}`
        while (processesIn(folder).size > 0 && performance.now() - killed < SOON_MS) await sleep(20)
        expect([...processesIn(folder)], what).toEqual([])
        expect(performance.now() - killed, what).toBeLessThan(SOON_MS)
        const { given: still, out, others } = await made(folder)
        if (code === 0 || out.length > 0) expect(out, what).toEqual(whole.out)
        for (const name of others) expect(name, what).toMatch(/^\.out\.[\w-]+\.partial$/)
        expect(others.length, what).toBeLessThan(2)
        expect(still).toEqual(given)
        await rm(join(folder, 'out'), { recursive: true, force: true })
        ended.push(
          `${i} ${victim} ${Math.round(moment)} ${code} ${out.length > 0 ? 'whole' : 'nothing'} ${others.length}`,
        )
      }
      if (process.env.FASP_KILLS) console.info(ended.join('\n'))
      expect(await undisturbed()).toMatchObject({ out: whole.out })
    })
  },
)
