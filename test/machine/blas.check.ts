// A BLAS library beside ONNX Runtime: what the golden tests (*.devices.test.ts) and those of linear algebra do not reach.
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Engine } from '../../src/engine/engine.ts'
import { HalfBlockRunner } from '../../src/forward/runner.ts'
import { readHalf } from '../../src/forward/weights.ts'
import { GramAccumulator, outputEnergy } from '../../src/method/statistics/gram.ts'
import { halfBlocks } from '../../src/model/architecture.ts'
import {
  describeMachine,
  describeModel,
  openCheckpoint,
  openEngine,
  type ProgressEvent,
  prune,
} from '../../src/node.ts'
import { CPU, describeOn, withBlas } from '../devices.ts'
import { TINY_LLAMA, workplaces } from '../fasp.ts'
import { random } from '../random.ts'

const workplace = workplaces()
const on = await withBlas()
const asked = { device: on.device, blas: on.blas }

describeOn(on, 'what ONNX Runtime computes', () => {
  let [plain, blas]: Engine[] = []
  beforeAll(() => {
    plain = openEngine(CPU)
    blas = openEngine(asked)
  })
  afterAll(async () => {
    await plain.close()
    await blas.close()
  })
  test('threads are those asked for, and without that the library’s own', async ({ skip }) => {
    if (process.platform !== 'linux' || !blas.facts.blas!.startsWith('OpenBLAS')) return skip()
    const library = createRequire(import.meta.url)('koffi').load('libopenblas.so.0')
    const threads = library.func('int openblas_get_num_threads()')
    const own = threads()
    const one = openEngine({ ...asked, threads: 1 })
    expect(threads()).toBe(1)
    expect(describeMachine({ ...on, threads: 1 }).blas).toBe(one.facts.blas)
    expect(threads()).toBe(1)
    await one.close()
    openEngine(asked)
    expect(threads()).toBe(own)
  })

  const both = async <T>(of: (engine: Engine) => Promise<T>) => [await of(plain), await of(blas)]

  test('Gram matrices, means and energies', async () => {
    const [width, tokens, out] = [450, 70, 30]
    const h = [random(width * tokens, 1), random(width * tokens, 2)]
    const at = Int32Array.from({ length: 200 }, (_, i) => 2 * i)
    const [expected, found] = await both(async engine => {
      const gram = new GramAccumulator(engine, width)
      for (const batch of h) await gram.add({ h: batch, tokens })
      const statistics = await gram.finish()
      return { ...statistics, energy: await outputEnergy(engine, statistics, at, random(at.length * out, 3)) }
    })
    expectClose(found.gram, expected.gram)
    expectClose(found.mean, expected.mean)
    expectClose([found.energy], [expected.energy])
  })

  test.each([40, 0])('float32 products of %i rows', async rows => {
    const [expected, found] = await both(engine => engine.linalg.multiply(random(rows * 30, 1), random(30 * 50, 2), 50))
    expectClose(found, expected)
  })

  test.each([
    ['all columns', 0, 0],
    ['some', 20, 1],
    ['none', 0, 1],
  ])('the stream after an output layer on %s', async (_, count, first) => {
    const checkpoint = await openCheckpoint(TINY_LLAMA)
    const model = describeModel(checkpoint)
    const { architecture: a } = model
    for (const half of halfBlocks(a, 1)) {
      const weights = await readHalf(model, half)
      const width = weights.output.weight.length / a.hiddenSize
      const columns = Int32Array.from({ length: first === 0 ? width : count }, (_, i) => first + (first + 1) * i)
      const weight = random(a.hiddenSize * columns.length, 5)
      for (const bias of [undefined, random(a.hiddenSize, 7)]) {
        const [expected, found] = await both(async engine => {
          const x = random(16 * a.hiddenSize, 4)
          const runner = new HalfBlockRunner(engine, 16)
          await runner.residual(weights, { output: { weight, bias }, columns }, x, random(16 * width, 6))
          return x
        })
        expectClose(found, expected)
      }
    }
    await checkpoint.close()
  })

  test.each(['best', 'stock'] as const)('method %s', async method => {
    const folder = await workplace()
    const ids = Int32Array.from(random(32 * 64, 8), v => Math.floor(Math.abs(v) * 1000))
    const rows = Array.from({ length: 32 }, (_, i) => ids.subarray(i * 64, (i + 1) * 64))
    const calibration = { seqLen: 64, windows: rows, texts: [{ name: 'ids', tokens: 2048, available: 32, used: 32 }] }
    const pruned = async (blas: 'auto' | false) => {
      const output = join(folder, `pruned ${blas}`)
      const told: string[] = []
      const onEvent = (event: ProgressEvent) => void (event.type === 'notice' && told.push(event.message))
      const { layers } = await prune(TINY_LLAMA, {
        sparsity: 0.3,
        method,
        calibration,
        engine: { blas },
        output,
        onEvent,
      })
      expect(told.some(message => /^Gram matrices and solves are made by \w/.test(message))).toBe(blas === 'auto')
      return layers.map(({ ffn }) => ffn!)
    }
    const [expected, found] = [await pruned(false), await pruned('auto')]
    for (const [i, { kept, errorAfter }] of found.entries()) {
      // Columns that cost all but the same change places: up to 5.5 % of them, by CPU, for 0.6 % of the error either way.
      expect(kept.filter(j => !expected[i].kept.includes(j)).length).toBeLessThanOrEqual(0.06 * kept.length)
      expect(Math.abs(errorAfter / expected[i].errorAfter - 1)).toBeLessThan(0.01)
    }
  })
})

/** To the rounding of float32. */
function expectClose(found: ArrayLike<number>, expected: ArrayLike<number>) {
  expect(found.length).toBe(expected.length)
  let [scale, worst] = [0, 0]
  for (let i = 0; i < expected.length; i++) {
    scale = Math.max(scale, Math.abs(expected[i]))
    worst = Math.max(worst, Math.abs(found[i] - expected[i]))
  }
  expect(worst).toBeLessThanOrEqual(1e-5 * scale)
}

test('works on the CPU alone', () => {
  expect(() => openEngine({ blas: 'auto', device: 'webgpu' })).toThrow('blas works on the CPU, and device is "webgpu"')
})

test.runIf(process.platform === 'linux')('a library that lacks what is needed', () => {
  const missing = /^blas: cannot load \/none\.so \(.*No such file or directory.*\)\. Install one/
  expect(() => openEngine({ blas: '/none.so' })).toThrow(missing)
  expect(() => openEngine({ blas: 'libm.so.6' })).toThrow(/^blas: libm\.so\.6 has no cblas_sgemm\. Install one/)
})
