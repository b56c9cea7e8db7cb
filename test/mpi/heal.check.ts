// `fasp heal` and `fasp prune --heal` under each launcher: one rank writes what no MPI writes, two what ranks in one process write, byte for byte.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { heal, prune } from '../../src/node.ts'
import { CLI, fasp, workplaces } from '../fasp.ts'
import { inProcess } from '../in-process-ranks.ts'
import { TINY_MODELS } from '../tiny.ts'
import { LAUNCHERS, type Launcher, runAll } from './launchers.ts'

const place = workplaces()
const DENSE = TINY_MODELS['tiny-llama']
const TEXT = ['--calibration', 'text.txt', '--seq-len', '64', '--threads', '1', '--quiet']
const PRUNE = ['prune', DENSE, '-s', '0.3', '--method', 'magnitude', '--windows', '6', '--held-out', '2', ...TEXT]
const TOKENS = 2048

const weightsIn = (folder: string) => readFileSync(join(folder, 'model.safetensors')).toString('base64')

test('the same bytes under all', async () => {
  const folder = await place()
  const at = (name: string) => join(folder, name)
  const under = async ({ mpirun, mpi }: Launcher, ranks: number, args: readonly string[], output: string) => {
    const command = [...mpirun, '-n', `${ranks}`, process.execPath, CLI, ...args, '--mpi', mpi, '-o', output]
    const { code, stderr } = await runAll(command, folder)
    expect(code, stderr).toBe(0)
    return weightsIn(at(output))
  }
  const small = await fasp([...PRUNE, '-o', 'pruned'], { folder })
  expect(small.code, small.stderr).toBe(0)
  const args = ['heal', 'pruned', '--dense', DENSE, '--tokens', `${TOKENS}`, '--held-out', '2', ...TEXT]
  const alone = await fasp([...args, '-o', 'alone'], { folder })
  expect(alone.code, alone.stderr).toBe(0)
  expect(await under(LAUNCHERS[0], 1, args, 'one')).toBe(weightsIn(at('alone')))
  const calibration = [{ name: 'text.txt', text: async () => readFileSync(at('text.txt'), 'utf8') }]
  const text = { calibration, seqLen: 64, heldOut: 2, engine: { threads: 1 } }
  const healing = { ...text, dense: DENSE, tokens: TOKENS, output: at('in-process') }
  await Promise.all(inProcess(2).map(group => heal(at('pruned'), { ...healing, group })))
  for (const launcher of LAUNCHERS)
    expect(await under(launcher, 2, args, `2 ${launcher.name}`)).toBe(weightsIn(at('in-process')))

  const both = { ...text, sparsity: 0.3, method: 'magnitude', windows: 6, heal: TOKENS, output: at('both') }
  await Promise.all(inProcess(2).map(group => prune(DENSE, { ...both, group })))
  expect(await under(LAUNCHERS[0], 2, [...PRUNE, '--heal', `${TOKENS}`], 'mpi')).toBe(weightsIn(at('both')))
}, 240_000)
