// Under each launcher collectives give what they give in one process, byte for byte.
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { inProcess } from '../in-process-ranks.ts'
import { someOf } from '../nightly.ts'
// @ts-expect-error plain JavaScript, which Node runs without a build
import { results } from './collectives.mjs'
import { ALL_LAUNCHERS, runAll } from './launchers.ts'

const script = fileURLToPath(new URL('collectives.mjs', import.meta.url))
const here = fileURLToPath(new URL('.', import.meta.url))

describe.each(ALL_LAUNCHERS)('$name', ({ mpirun, mpi, name }) => {
  test.each(someOf([1, 2, 3, 4], ranks => ranks === (name === ALL_LAUNCHERS[0].name ? 4 : 3)))(
    '%d ranks',
    async ranks => {
      const wanted = await Promise.all(inProcess(ranks).map(results))
      for (const chunk of [['4096'], []]) {
        const command = [...mpirun, '-n', `${ranks}`, process.execPath, script, mpi, ...chunk]
        const { code, stdout, stderr } = await runAll(command, here)
        expect(code, stderr).toBe(0)
        const lines = stdout.trim().split('\n').sort()
        const found = lines.map(line => line.split(' ').slice(0, 3).join(' '))
        expect(found).toEqual(wanted.map((hash, rank) => `${rank} ${ranks} ${hash}`))
        if (ranks > 1) expect(lines[0]).toMatch(name === 'Open MPI' ? /Open MPI/ : /MPICH/)
      }
    },
  )
})

test('a library of another launcher is refused', async () => {
  const [openMpi] = ALL_LAUNCHERS
  const { code, stderr } = await runAll(
    [...openMpi.mpirun, '-n', '2', process.execPath, script, 'libmpich.so.12'],
    here,
  )
  expect(code).not.toBe(0)
  expect(stderr).toContain('it is not the library of this launcher')
})
