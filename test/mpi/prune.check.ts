// `fasp prune` under each launcher: one rank writes what no MPI writes, several what ranks in one process write, byte for byte; and what goes wrong.
import { readdirSync, readFileSync } from 'node:fs'
import { cp, mkdir, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { prune } from '../../src/node.ts'
import { CLI, fasp, putModel, snapshot, workplaces } from '../fasp.ts'
import { inProcess } from '../in-process-ranks.ts'
import { NIGHTLY } from '../nightly.ts'
import { TINY_MODELS } from '../tiny.ts'
import { LAUNCHERS, type Launcher, runAll } from './launchers.ts'

const place = workplaces()
const CALIBRATION = ['--calibration', 'text.txt', '--windows', '7', '--seq-len', '32', '--held-out', '2']
const ASKED = ['-s', '0.3', ...CALIBRATION, '--threads', '1', '--quiet']

const node = [process.execPath, CLI, 'prune']
const ranksOf = ({ mpirun, mpi }: Launcher, ranks: number, args: readonly string[]) => [
  ...[...mpirun, '-n', `${ranks}`, ...node, ...args, '--mpi', mpi],
]

/** Bytes of all weights in a folder. */
const weightsIn = (folder: string) =>
  readdirSync(folder)
    .filter(name => name.endsWith('.safetensors'))
    .map(name => readFileSync(join(folder, name)).toString('base64'))

const MIXTURE = fileURLToPath(new URL('../fixtures/trained/tiny-mixture', import.meta.url))
const MODELS = { ...TINY_MODELS, 'tiny-mixture': MIXTURE }
type Case = [name: keyof typeof MODELS, method: string, ranks: readonly number[], launchers: readonly Launcher[]]
const SOME: readonly Case[] = [
  ['tiny-llama', 'best', [1, 3], LAUNCHERS],
  ['tiny-opt', 'paper', [2, 4], LAUNCHERS],
  ['tiny-mixture', 'stock', [3], LAUNCHERS],
]
const ALL = (['tiny-llama', 'tiny-opt', 'tiny-mixture'] as const).flatMap(name => {
  const methods = name === 'tiny-mixture' ? ['stock', 'stock:scope=experts'] : ['plain', 'stock', 'best', 'paper']
  return methods.map((method): Case => [name, method, [1, 2, 3, 4], LAUNCHERS])
})

test.each(NIGHTLY ? ALL : SOME)(
  '%s by %s on %o ranks',
  async (name, method, sizes, launchers) => {
    const folder = await place()
    const args = [MODELS[name], '--method', method, ...ASKED]
    const alone = await fasp(['prune', ...args, '-o', 'alone'], { folder })
    expect(alone.code, alone.stderr).toBe(0)
    const text = { name: 'text.txt', text: async () => readFileSync(join(folder, 'text.txt'), 'utf8') }
    const options = { sparsity: 0.3, method, calibration: [text], windows: 7, seqLen: 32, heldOut: 2 }
    for (const ranks of sizes) {
      const output = join(folder, `in-process-${ranks}`)
      const on = { ...options, output, engine: { threads: 1 } }
      await Promise.all(inProcess(ranks).map(group => prune(MODELS[name], { ...on, group })))
      const weights = weightsIn(output)
      if (ranks === 1) expect(weightsIn(join(folder, 'alone'))).toEqual(weights)
      for (const launcher of launchers) {
        const output = `${launcher.name}-${ranks}`
        const { code, stderr } = await runAll(ranksOf(launcher, ranks, [...args, '-o', output]), folder)
        expect(code, stderr).toBe(0)
        expect(stderr, 'what one process says, once').toBe(alone.stderr)
        expect(weightsIn(join(folder, output)).every((bytes, i) => bytes === weights[i])).toBe(true)
      }
    }
  },
  NIGHTLY ? 600_000 : 240_000,
)

describe.each(LAUNCHERS)('under $name', launcher => {
  /** Runs `one` as rank 0 and `other` as rank 1, which fails; nothing is left. */
  const refused = async (folder: string, one: readonly string[], other: readonly string[]) => {
    const before = await snapshot(folder)
    const [first, second] = [one, other].map(args => ['-n', '1', ...node, ...args, '--mpi', launcher.mpi])
    const { code, stderr, stdout, seconds } = await runAll([...launcher.mpirun, ...first, ':', ...second], folder)
    expect(code).not.toBe(0)
    expect(stdout).toBe('')
    expect(seconds).toBeLessThan(20) // of them some to start, on a machine that does other work
    expect(await snapshot(folder)).toEqual(before)
    const said = stderr.split('\n').filter(line => line.startsWith('fasp: '))
    expect(said.length, stderr).toBe(1)
    return said[0]
  }
  const args = (model: string) => [model, '--method', 'plain', ...ASKED, '-o', 'out']

  test('with --read root the others need no model', async () => {
    const [folder, other] = [await place(), await place()]
    await putModel(folder)
    const scratch = join(other, 'scratch')
    await mkdir(scratch)
    const of = (at: string) => [
      '-n',
      '1',
      '-wdir',
      at,
      ...node,
      ...args('model'),
      '--read',
      'root',
      '--mpi',
      launcher.mpi,
    ]
    const command = [...launcher.mpirun, ...of(folder), ':', ...of(other)]
    const { code, stderr } = await runAll(command, folder, { TMPDIR: scratch })
    expect(code, stderr).toBe(0)
    const both = await runAll(ranksOf(launcher, 2, [...args('model').slice(0, -1), 'both']), folder)
    expect(both.code, both.stderr).toBe(0)
    expect(weightsIn(join(folder, 'out'))).toEqual(weightsIn(join(folder, 'both')))
    expect(readdirSync(scratch).filter(name => name.startsWith('fasp'))).toEqual([])
  })

  test('options that differ are refused', async () => {
    const folder = await place()
    await putModel(folder)
    expect(await refused(folder, args('model'), [...args('model'), '--seed', '3'])).toBe(
      'fasp: rank 1 of 2 has seed 3, and rank 0 0. Start all with the same command and the same files.',
    )
  })

  test('a plan is printed once', async () => {
    const folder = await place()
    await putModel(folder)
    const planned = [...ranksOf(launcher, 3, ['model', '--method', 'best', ...ASKED, '--dry-run', '--json'])]
    const { code, stdout, stderr } = await runAll(planned, folder)
    expect(code, stderr).toBe(0)
    expect(JSON.parse(stdout).memoryBytes).toBeGreaterThan(0)
  })

  test('an error on one rank ends all, and is said once', async () => {
    const folder = await place()
    await putModel(folder)
    await cp(join(folder, 'model'), join(folder, 'damaged'), { recursive: true })
    await truncate(join(folder, 'damaged/model.safetensors'), 100_000)
    expect(await refused(folder, args('model'), args('damaged'))).toMatch(/^fasp: rank 1 of 2: damaged\/model.safetens/)
  })
})

test('a launcher whose processes do not know of each other is refused', async () => {
  const folder = await place()
  await putModel(folder)
  const env = { OMPI_COMM_WORLD_SIZE: '4', OMPI_COMM_WORLD_RANK: '0' }
  const { code, stderr } = await fasp(['prune', 'model', ...ASKED, '-o', 'out'], { folder, env })
  expect(code).toBe(2)
  expect(stderr).toContain('takes this process for 0 of 1, and Open MPI has started 4')
})

test.each(['compare', 'ui', 'eval'])('fasp %s is refused', async command => {
  const folder = await place()
  const env = { PMI_SIZE: '2', PMI_RANK: '0' }
  const { code, stderr } = await fasp([command, 'model'], { folder, env })
  expect(code).toBe(2)
  expect(stderr).toContain(`fasp ${command} works in one process, and MPICH has started 2 processes.`)
})

test('--mpi off is one process, whatever the launcher says', async () => {
  const folder = await place()
  await putModel(folder)
  const env = { PMI_SIZE: '2', PMI_RANK: '0' }
  const { code, stderr } = await fasp(['prune', 'model', ...ASKED, '-o', 'out', '--mpi', 'off'], { folder, env })
  expect(code, stderr).toBe(0)
})
