// Which BLAS is used where nobody says. What it computes is in blas.check.ts.
import { readFileSync } from 'node:fs'
import { afterEach, expect, test, vi } from 'vitest'
import { openEngine } from '../../src/engine/engine.node.ts'
import type { chooseBlas } from '../../src/engine/linalg/blas.node.ts'
import { CPU, describeOn, withBlas } from '../devices.ts'

const AVX2 = 'flags : fpu avx2 bmi1'
const AVX512 = `${AVX2} avx512f`

vi.mock(import('node:fs'), { spy: true })
afterEach(() => void vi.mocked(readFileSync).mockReset())

const onCpuWith = (flags: string) => vi.mocked(readFileSync).mockReturnValue(flags)

/** OpenBLAS on Linux and x64, with threads of its own, as CI installs it. */
const place = await withBlas()
const measured = process.platform === 'linux' && process.arch === 'x64'

if (measured)
  describeOn(place, 'a BLAS that nobody asks for', () => {
    test('is used on CPUs that it is known to help, and seen in results', async () => {
      onCpuWith(AVX2)
      await using engine = openEngine()
      expect(engine.facts.blas).toMatch(/^OpenBLAS \d/)
      expect(engine.dialect.residual).toBe('product')
    })

    test.each([
      ['on other CPUs', AVX512, {}],
      ['on a GPU', AVX2, { device: 'webgpu' }],
      ['where it is left out', AVX2, CPU],
      ['where the command line leaves it out', AVX2, { blas: 'none' }],
    ] as const)('is not used %s', async (_, flags, options) => {
      onCpuWith(flags)
      await using engine = openEngine(options)
      expect(engine.facts.blas).toBeUndefined()
      expect(engine.dialect.residual).toBe('graph')
    })
  })

test('without the package that calls it, it is left out quietly, and missed where it is asked for', async () => {
  onCpuWith(AVX2)
  vi.doMock('node:module', () => ({
    createRequire: () => (name: string) => {
      throw new Error(`Cannot find module '${name}'`)
    },
  }))
  vi.resetModules()
  const { chooseBlas: choose }: { chooseBlas: typeof chooseBlas } = await import('../../src/engine/linalg/blas.node.ts')
  vi.doUnmock('node:module')
  expect(choose({})).toBeUndefined()
  expect(() => choose({ blas: 'auto' })).toThrow('blas: the package koffi is not there.')
})
