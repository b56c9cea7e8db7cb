// Each way of working on rows against plain arithmetic: on the CPU, on the CPU taken for a device, and on a GPU where there is a Vulkan driver;
// Mesa's in software will do (.ci/machine.sh).
import { beforeEach, expect, test } from 'vitest'
import { CPU, describeOn, devices, takenForDevice } from '../../../test/devices.ts'
import { random } from '../../../test/random.ts'
import type { Floats } from '../../formats/tensors.ts'
import { openEngine } from '../engine.node.ts'
import type { Engine } from '../engine.ts'
import type { Values } from '../values.ts'
import { addRows, addTimes, copied, cosines, plusDistance, rowNorms, rowsAt, scaleColumns, withRow } from './rows.ts'

const [N, D] = [7, 5]
const AT = Int32Array.of(1, 2, 6)

function testAll(open: () => Engine) {
  let engine: Engine
  const data = (seed: number, n = N) => random(n * D, seed)
  const rows = (seed: number, n = N) => engine.array([n, D], data(seed, n))
  beforeEach(() => {
    engine = open()
    return () => engine.close()
  })

  /** Where they stay on a device, so much goes over beside rows, and so much comes back. */
  async function moving<T>(call: () => Promise<T>, toDevice: number, fromDevice = 0): Promise<T> {
    const before = { ...engine.moved }
    const found = await call()
    if (engine.moved)
      expect(engine.moved).toEqual({
        toDevice: before.toDevice! + toDevice,
        fromDevice: before.fromDevice! + fromDevice,
      })
    return found
  }
  const there = async (x: Values<Floats>) => copied(engine, x)
  const expectNear = (found: ArrayLike<number>, expected: ArrayLike<number>) => {
    expect(found.length).toBe(expected.length)
    for (let i = 0; i < found.length; i++) expect(found[i]).toBeCloseTo(expected[i], 5)
  }
  const row = (all: Floats, i: number) => [...all.subarray(i * D, (i + 1) * D)]
  const product = (a: readonly number[], b: readonly number[]) => a.reduce((sum, v, i) => sum + v * b[i], 0)

  test('some rows of others', async () => {
    const x = await there(rows(1))
    const found = await moving(() => rowsAt(engine, x, AT), 4 * AT.length)
    expect([...found.data]).toEqual([...AT].flatMap(i => row(data(1), i)))
  })

  test.each([false, true])('what is added to some rows, less something: %s', async isLess => {
    const [x, update] = [await there(rows(1)), await there(rows(2, AT.length))]
    const less = isLess ? await there(rows(3, AT.length)) : undefined
    await moving(() => addRows(engine, x, AT, update, less), 8 * AT.length)
    const expected = data(1)
    for (const [i, at] of AT.entries())
      for (let o = 0; o < D; o++)
        expected[at * D + o] += data(2, AT.length)[i * D + o] - (isLess ? data(3, AT.length)[i * D + o] : 0)
    expectNear(x.data, expected)
  })

  test('a part of what lacks, and a sum', async () => {
    const [x, y] = [await there(rows(1)), await there(rows(2))]
    await moving(() => addTimes(engine, x, 0.25, y, x), 4)
    const leant = data(1).map((v, i) => v + 0.25 * (data(2)[i] - v))
    const sum = await copied(engine, y)
    await moving(() => addTimes(engine, sum, 1, x), 4)
    expectNear(x.data, leant)
    expectNear(
      sum.data,
      leant.map((v, i) => v + data(2)[i]),
    )
  })

  test('one row with each', async () => {
    const x = await there(rows(1))
    const found = await moving(() => withRow(engine, x, -0.5, data(4, 1)), 4 * D)
    expectNear(
      found.data,
      data(1).map((v, i) => v - 0.5 * data(4, 1)[i % D]),
    )
    expect([...x.data]).toEqual([...data(1)])
  })

  test('columns times factors', async () => {
    const h = await there(rows(1))
    await moving(() => scaleColumns(engine, h, data(5, 1)), 4 * D)
    expectNear(
      h.data,
      data(1).map((v, i) => v * data(5, 1)[i % D]),
    )
  })

  test('norms and cosines of rows, of one of zeros 0', async () => {
    const zeros = data(2)
    zeros.fill(0, D, 2 * D)
    const [x, y] = [await there(rows(1)), await there(engine.array([N, D], zeros))]
    const norms = await moving(() => rowNorms(engine, y), 0, 4 * N)
    const found = await moving(() => cosines(engine, x, y), 0, 4 * N)
    for (let i = 0; i < N; i++) {
      const [a, b] = [row(data(1), i), row(zeros, i)]
      expect(norms[i]).toBeCloseTo(Math.sqrt(product(b, b)), 5)
      expect(found[i]).toBeCloseTo(i === 1 ? 0 : product(a, b) / Math.sqrt(product(a, a) * product(b, b)), 5)
    }
  })

  test('distances, of the rows that count, to a part of the way', async () => {
    const [x, y, z] = [await there(rows(1)), await there(rows(2)), await there(rows(3))]
    const [a, b, c] = [data(1), data(2), data(3)]
    const counts = (row: number) => row % 2 === 1
    const whole = await moving(() => plusDistance(engine, 3, [x, y]), 4 * N + 4, 4)
    const found = await moving(() => plusDistance(engine, 0, [x, y, z], 0.5, counts), 4 * N + 4, 4)
    expect(whole).toBeCloseTo(3 + a.reduce((sum, v, i) => sum + (v - b[i]) ** 2, 0), 4)
    const part = a.map((v, i) => (counts(Math.floor(i / D)) ? (v - b[i] - 0.5 * (c[i] - b[i])) ** 2 : 0))
    expect(found).toBeCloseTo(
      part.reduce((sum, v) => sum + v, 0),
      4,
    )
  })
}

const [, webgpu] = await devices()
describeOn(CPU, 'rows here', () => testAll(() => openEngine({ blas: false })))
if (process.platform === 'linux') describeOn(CPU, 'rows taken for those of a device', () => testAll(takenForDevice))
describeOn(webgpu, 'rows there', () => testAll(() => openEngine({ device: 'webgpu' })))
