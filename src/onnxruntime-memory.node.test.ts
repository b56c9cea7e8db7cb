// Constants on a GPU. Run where there is a Vulkan driver; Mesa's in software will do (.ci/vulkan.sh).
import { afterEach, expect, test } from 'vitest'
import { describeOn, devices } from '../test/devices.ts'
import { openEngine } from './engine/engine.node.ts'
import { constant, type Engine, type EngineOptions, values } from './engine/engine.ts'
import { Graph } from './formats/onnx.ts'

let engine: Engine
afterEach(() => engine.close())

const product = () => {
  const g = new Graph('product')
  const operands = [g.input('x', 'float32', ['n', 'd']), g.input('w', 'float32', ['m', 'd'])]
  g.output('y', g.op('Gemm', operands, { transB: 1 }), 'float32', ['n', 'm'])
  return g
}

const [D, M, N] = [48, 40, 8]
const weight = (by: number) => Float32Array.from({ length: M * D }, (_, i) => Math.sin(by * i))
const X = values(
  Float32Array.from({ length: N * D }, (_, i) => Math.cos(i)),
  [N, D],
)

/** Bytes that a product takes to the device. */
async function taken(w: ReturnType<typeof constant<Float32Array>>): Promise<number> {
  const y = values(new Float32Array(N * M), [N, M])
  const moved = engine.moved!
  const before = { ...moved }
  await engine.run('product', product, { x: X, w }, { y })
  for (let i = 0; i < N; i++)
    for (let o = 0; o < M; o++) {
      const expected = X.data.subarray(i * D, (i + 1) * D).reduce((sum, v, k) => sum + v * w.data[o * D + k], 0)
      expect(y.data[i * M + o]).toBeCloseTo(expected, 4)
    }
  expect(moved.fromDevice - before.fromDevice).toBe(4 * N * M)
  return moved.toDevice - before.toDevice
}

const [, webgpu] = await devices()
const open = (options: EngineOptions = {}) => {
  engine = openEngine({ device: 'webgpu', ...options })
}

describeOn(webgpu, 'constants', () => {
  test.runIf(process.platform === 'linux')('go over once, all else with each run', async () => {
    open()
    const w = constant(weight(1), [M, D])
    expect(await taken(w)).toBe(4 * (N * D + M * D))
    expect(await taken(w)).toBe(4 * N * D)
    expect(await taken({ ...w, isConstant: undefined })).toBe(4 * (N * D + M * D))
    expect(await taken(constant(weight(2), [M, D]))).toBe(4 * (N * D + M * D))
    expect(await taken(w)).toBe(4 * N * D)
  })

  test.runIf(process.platform === 'linux')('those read last stay where there is no room for all', async () => {
    open({ deviceMemory: (2.5 * 4 * M * D) / 2 ** 30 })
    const [a, b, c] = [1, 2, 3].map(by => constant(weight(by), [M, D]))
    for (const w of [a, b, a, c]) await taken(w)
    expect(await taken(a)).toBe(4 * N * D)
    expect(await taken(b)).toBe(4 * (N * D + M * D))
  })

  test('without room all goes over with each run', async () => {
    open({ deviceMemory: 0 })
    const w = constant(weight(1), [M, D])
    for (let i = 0; i < 2; i++) expect(await taken(w)).toBe(4 * (N * D + M * D))
  })
})
