// Constants and rows on a device: on the CPU, taken for one, and on a GPU where there is a Vulkan driver; Mesa's in software will do
// (.ci/machine.sh).
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { CPU, describeOn, devices, takenForDevice } from '../../../test/devices.ts'
import { TINY_LLAMA, workplaces } from '../../../test/fasp.ts'
import { someOf } from '../../../test/nightly.ts'
import { asWindows, goldenOf } from '../../../test/tiny.ts'
import { Graph } from '../../formats/onnx.ts'
import { prune } from '../../node.ts'
import { openEngine } from '../engine.node.ts'
import { constant, type Engine, values } from '../engine.ts'
import { matrix } from '../linalg/matrix.ts'
import { rowsOf, type Values } from '../values.ts'

const workplace = workplaces()
let engine: Engine
afterEach(() => engine?.close())

const product = () => {
  const g = new Graph('product')
  const operands = [g.input('x', 'float32', ['n', 'd']), g.input('w', 'float32', ['m', 'd'])]
  g.output('y', g.op('Gemm', operands, { transB: 1 }), 'float32', ['n', 'm'])
  return g
}
const negative = () => {
  const g = new Graph('negative')
  g.output('y', g.op('Neg', [g.input('x', 'float32', ['n'])]), 'float32', ['n'])
  return g
}

const [D, M, N] = [48, 40, 8]
const weight = (by: number) => Float32Array.from({ length: M * D }, (_, i) => Math.sin(by * i))
const X = values(
  Float32Array.from({ length: N * D }, (_, i) => Math.cos(i)),
  [N, D],
)

/** What goes over and comes back while `call` runs. */
async function moving(call: () => unknown): Promise<[toDevice: number, fromDevice: number]> {
  const before = { ...engine.moved! }
  await call()
  return [engine.moved!.toDevice - before.toDevice, engine.moved!.fromDevice - before.fromDevice]
}

/** Bytes that a product takes to the device. */
async function taken(w: ReturnType<typeof constant<Float32Array>>): Promise<number> {
  const y = values(new Float32Array(N * M), [N, M])
  const [toDevice, fromDevice] = await moving(() => engine.run('product', product, { x: X, w }, { y }))
  for (let i = 0; i < N; i++)
    for (let o = 0; o < M; o++) {
      const expected = X.data.subarray(i * D, (i + 1) * D).reduce((sum, v, k) => sum + v * w.data[o * D + k], 0)
      expect(y.data[i * M + o]).toBeCloseTo(expected, 4)
    }
  expect(fromDevice).toBe(4 * N * M)
  return toDevice
}

/** @param open makes an engine with room for so many bytes */
function testAll(open: (bytes: number) => Engine) {
  test('constants go over once, all else with each run', async () => {
    engine = open(1e9)
    const w = constant(weight(1), [M, D])
    expect(await taken(w)).toBe(4 * (N * D + M * D))
    expect(await taken(w)).toBe(4 * N * D)
    expect(await taken({ ...w, isConstant: undefined })).toBe(4 * (N * D + M * D))
    expect(await taken(constant(weight(2), [M, D]))).toBe(4 * (N * D + M * D))
    expect(await taken(w)).toBe(4 * N * D)
  })

  test('those read last stay where there is no room for all', async () => {
    engine = open(2.5 * 4 * M * D)
    const [a, b, c] = [1, 2, 3].map(by => constant(weight(by), [M, D]))
    for (const w of [a, b, a, c]) await taken(w)
    expect(await taken(a)).toBe(4 * N * D)
    expect(await taken(b)).toBe(4 * (N * D + M * D))
  })

  test('without room all goes over with each run', async () => {
    engine = open(0)
    const w = constant(weight(1), [M, D])
    for (let i = 0; i < 2; i++) expect(await taken(w)).toBe(4 * (N * D + M * D))
    const [x, y] = [engine.array([3], Float32Array.of(1, 2, 3)), engine.array([3])]
    expect(await moving(() => engine.run('negative', negative, { x }, { y }))).toEqual([12, 12])
    expect([...y.data]).toEqual([-1, -2, -3])
  })

  test('rows stay until they are asked for, and may be changed then', async () => {
    engine = open(1e9)
    const host = Float32Array.of(1, 2, 3)
    const [x, y] = [engine.array([3], host), engine.array([3])]
    const negate = (from: typeof x, to: typeof x) =>
      moving(() => engine.run('negative', negative, { x: from }, { y: to }))
    expect(await negate(x, y)).toEqual([12, 0])
    expect(await negate(y, y)).toEqual([0, 0]) // in place
    expect(await negate(y, x)).toEqual([0, 0])
    expect([...host]).toEqual([1, 2, 3]) // not asked for
    expect(engine.seconds.copy).toBeUndefined()
    expect(await moving(() => expect([...x.data]).toEqual([-1, -2, -3]))).toEqual([0, 12])
    expect(engine.seconds.copy).toBeGreaterThan(0)
    expect(x.data).toBe(host)
    host[0] = 5
    expect(await negate(x, y)).toEqual([12, 0])
    expect([...y.data]).toEqual([-5, 2, 3])
    expect(await negate(y, x)).toEqual([12, 0])
    x.drop?.()
    expect([...x.data]).toEqual([5, -2, -3]) // as they are here
  })

  test('what nobody has filled is zeros there, and parts of rows are made there', async () => {
    engine = open(1e9)
    const of = (n: number, ...data: Parameters<typeof Float32Array.of>) =>
      engine.array([n], data.length > 0 ? Float32Array.of(...data) : undefined)
    const negate = (x: Values, y: Values) => moving(() => engine.run('negative', negative, { x }, { y }))
    const [x, y, part] = [of(6, 1, 2, 3, 4, 5, 6), of(6), of(2)]
    expect(await negate(of(6), y)).toEqual([0, 0])
    expect(y.data.every(value => value === 0)).toBe(true)
    expect(await negate(x, x)).toEqual([24, 0])
    expect(await negate(rowsOf(x, 2, 4), part)).toEqual([0, 0])
    expect([...part.data]).toEqual([3, 4])
    x.data[5] = 9
    expect(await negate(rowsOf(x, 4, 6), part)).toEqual([8, 0]) // they are here now
    expect([...part.data]).toEqual([5, -9])
    expect([...rowsOf(x, 1, 3).data]).toEqual([-2, -3])
  })

  test('rows that find no room any more come back by themselves, and with the engine that closes', async () => {
    engine = open(2.5 * 12)
    const rows = [1, 2, 3].map(first => engine.array([3], Float32Array.of(first, 0, 0)))
    for (const x of rows) await engine.run('negative', negative, { x }, { y: x })
    const other = open(1e9)
    const last = other.array([3], Float32Array.of(4, 0, 0))
    await other.run('negative', negative, { x: last }, { y: last })
    await other.close()
    await other.close() // once more is nothing
    expect([...rows, last].map(({ data }) => data[0])).toEqual([-1, -2, -3, -4])
  })

  test('a run that fails leaves rows as they were', async () => {
    engine = open(1e9)
    const [x, y] = [engine.array([2], Float32Array.of(1, 2)), engine.array([3], Float32Array.of(7, 8, 9))]
    await engine.run('negative', negative, { x }, { y: x })
    await expect(engine.run('negative', negative, { x }, { y })).rejects.toThrow()
    expect([...x.data, ...y.data]).toEqual([-1, -2, 7, 8, 9])
  })
}

const onLinux = process.platform === 'linux' ? describeOn : () => {}
onLinux(CPU, 'taken for a device', () => {
  testAll(takenForDevice)

  test('float64 is the CPU’s, which a GPU for games does not pass by much', async () => {
    const asked: string[] = []
    const append = () => void asked.push('device')
    engine = takenForDevice(1e9, append)
    const doubles = new Float64Array(4).fill(1)
    const c = matrix(2, 2)
    await engine.linalg.gemm(matrix(2, 2, doubles), matrix(2, 2, doubles), c)
    expect([...c.data, ...asked]).toEqual([2, 2, 2, 2])
    const x = engine.array([3], Float32Array.of(1, 2, 3))
    await engine.run('negative', negative, { x }, { y: x })
    expect(asked).toContain('device')
  })

  test('the trial of attention is counted, once', () => {
    engine = takenForDevice(1e9)
    expect(engine.seconds.trial).toBeUndefined()
    void engine.dialect
    const { trial } = engine.seconds
    expect(trial).toBeGreaterThan(0)
    void engine.dialect
    expect(engine.seconds.trial).toBe(trial)
  })

  test.each(someOf(['paper', 'stock', 'best'], method => method === 'paper'))(
    '%s prunes as without',
    { timeout: 120_000 },
    async method => {
      const calibration = asWindows(goldenOf('tiny-llama').calibration_windows.slice(0, 9))
      const folder = await workplace()
      const pruned = (name: string, engine: Engine) =>
        prune(TINY_LLAMA, { sparsity: 0.2, method, calibration, memory: 1e-3, output: join(folder, name), engine })
      engine = takenForDevice(4e6)
      await using plain = openEngine({ blas: false })
      const [ours, expected] = [await pruned('device', engine), await pruned('plain', plain)]
      for (const [layer, { attention, ffn }] of expected.layers.entries()) {
        const own = ours.layers[layer]
        expect([own.attention?.kept, own.ffn?.kept]).toEqual([attention?.kept, ffn?.kept])
        expect(own.ffn!.errorAfter).toBeCloseTo(ffn!.errorAfter, 5)
      }
    },
  )
})

const [, webgpu] = await devices()
onLinux(webgpu, 'a GPU', () => testAll(bytes => openEngine({ device: 'webgpu', deviceMemory: bytes / 2 ** 30 })))
