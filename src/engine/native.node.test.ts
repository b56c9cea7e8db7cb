import * as runtime from 'onnxruntime-node'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { Graph } from '../formats/onnx.ts'
import { createEngine, type Feeds, hostOf, values } from './engine.ts'
import { nativeGraphs, nativeOn } from './native.node.ts'
import { RUNTIME_VERSION } from './ort/package.node.ts'
import type { DeviceProvider } from './ort/providers.node.ts'

const graphs = nativeGraphs(RUNTIME_VERSION)

describe.runIf(process.platform === 'linux')("graphs through ONNX Runtime's C interface", () => {
  const native = createEngine(runtime, {}, { graphs })
  const binding = createEngine(runtime)
  afterAll(() => Promise.all([native.close(), binding.close()]))

  test('the interface is there', () => expect(graphs).toBeDefined())

  test('another version of the library is not called', () => expect(nativeGraphs('0.0.0')).toBeUndefined())

  test('without koffi it is not called, nor where the binding is asked for', async () => {
    vi.stubEnv('FASP_GRAPHS', 'binding')
    expect(nativeGraphs(RUNTIME_VERSION)).toBeUndefined()
    vi.unstubAllEnvs()
    vi.doMock('node:module', () => ({
      createRequire: () => (name: string) => {
        throw new Error(`Cannot find module '${name}'`)
      },
    }))
    vi.resetModules()
    const { nativeGraphs: without } = await import('./native.node.ts')
    vi.doUnmock('node:module')
    vi.resetModules() // for the files that follow in this process
    expect(without(RUNTIME_VERSION)).toBeUndefined()
  })

  test.runIf(process.arch === 'x64')(
    'numbers below the normal ones are zero in graphs, and stay in JavaScript',
    async () => {
      const build = () => {
        const g = new Graph('tiny')
        g.output('y', g.op('Mul', [g.input('a', 'float32', ['n']), g.input('b', 'float32', ['n'])]), 'float32', ['n'])
        return g
      }
      const [a, b, y] = [1e-30, 1e-10, 1].map(v => values(new Float32Array(4096).fill(v), [4096]))
      await native.run('tiny', build, { a, b }, { y })
      expect(new Set(y.data)).toEqual(new Set([0]))
      expect(Math.fround(a.data[0] * b.data[0])).toBeGreaterThan(0)
      expect(Number.MIN_VALUE * Math.sqrt(y.data.length)).toBeGreaterThan(0)
    },
  )

  test('results are those of the binding, in the arrays that were given', async () => {
    const [tokens, width] = [37, 24]
    const build = () => {
      const g = new Graph('product')
      const x = g.input('x', 'float32', ['n', width])
      const y = g.op('Gemm', [x, g.input('w', 'float32', ['m', width])], { transB: 1 })
      g.output('y', g.op('Gather', [y, g.input('rows', 'int32', ['k'])]), 'float32', ['k', 'm'])
      g.output('half', g.cast(x, 'float16'), 'float16', ['n', width])
      g.output('wide', g.cast(y, 'float64'), 'float64', ['n', 'm'])
      return g
    }
    const buffer = Float32Array.from({ length: tokens * width + 5 }, (_, i) => Math.sin(i))
    const feeds: Feeds = {
      x: values(buffer.subarray(5), [tokens, width]), // a view that begins within its buffer
      w: values(Float32Array.from({ length: 3 * width }, Math.cos), [3, width]),
      rows: values(Int32Array.of(4, 0, 36), [3]),
      unused: undefined,
    }
    const results = []
    for (const engine of [native, binding]) {
      const y = new Float32Array(9)
      const half = new Uint16Array(tokens * width)
      const wide = new Float64Array(tokens * 3)
      const outputs = { y: values(y, [3, 3]), half: values(half, [tokens, width]), wide: values(wide, [tokens, 3]) }
      await engine.run('product', build, feeds, outputs)
      results.push({ y, half, wide })
    }
    expect(results[0]).toEqual(results[1])
    expect(results[0].y.some(v => v !== 0)).toBe(true)
  })

  test('a result may overwrite its input, and a scalar has no dimensions', async () => {
    const build = () => {
      const g = new Graph('add')
      g.output('y', g.op('Add', [g.input('x', 'int64', [2]), g.input('by', 'int64', [])]), 'int64', [2])
      return g
    }
    const x = values(BigInt64Array.of(1n, 2n), [2])
    await native.run('add', build, { x, by: values(BigInt64Array.of(40n), []) }, { y: x })
    expect([...x.data]).toEqual([41n, 42n])
  })

  test('no array is made for a result', async () => {
    const n = 2 ** 20
    const build = () => {
      const g = new Graph('negative')
      g.output('y', g.op('Neg', [g.input('x', 'float32', ['n'])]), 'float32', ['n'])
      return g
    }
    const [x, y] = [values(new Float32Array(n), [n]), values(new Float32Array(n), [n])]
    await native.run('negative', build, { x }, { y })
    const before = process.memoryUsage().arrayBuffers
    for (let i = 0; i < 5; i++) await native.run('negative', build, { x }, { y })
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * n)
  })

  test('a failure says what ONNX Runtime says, and leaves the session as it was', async () => {
    const build = () => {
      const g = new Graph('sum')
      g.output('y', g.op('Add', [g.input('a', 'float32', ['n']), g.input('b', 'float32', ['m'])]), 'float32', ['n'])
      return g
    }
    const sum = (b: number[]) => {
      const y = values(new Float32Array(3), [3])
      const feeds = { a: values(Float32Array.of(1, 2, 3), [3]), b: values(Float32Array.from(b), [b.length]) }
      return native.run('sum', build, feeds, { y }).then(() => [...y.data])
    }
    await expect(sum([1, 2])).rejects.toThrow(/broadcast/i)
    expect(await sum([1, 1, 1])).toEqual([2, 3, 4])
    const wrong = () => {
      const g = new Graph('wrong')
      g.output('y', g.op('NoSuchOperator', [g.input('x', 'float32', [1])]), 'float32', [1])
      return g
    }
    const one = values(new Float32Array(1), [1])
    await expect(native.run('wrong', wrong, { x: one }, { y: one })).rejects.toThrow(/NoSuchOperator/)
  })
})

test.runIf(process.platform === 'linux')(
  'products in TF32 have sessions of their own, and one memory with all else',
  async () => {
    const opened: string[] = []
    const provider: DeviceProvider = {
      ...{ device: 'cuda', memory: 'Cpu', reduced: 'tf32' },
      append: (_api, _options, { name }, precision) => void opened.push(`${name} ${precision}`),
    }
    const there = nativeOn(provider, RUNTIME_VERSION, 1e6)!
    const engine = createEngine(runtime, { device: 'cuda' }, { graphs: there, reduced: there.reduced })
    const double = () => {
      const g = new Graph('double')
      const x = g.input('x', 'float32', ['n'])
      g.output('y', g.op('Add', [x, x]), 'float32', ['n'])
      return g
    }
    const [x, y] = [engine.array([3], Float32Array.of(1, 2, 3)), engine.array([3])]
    const reduced = engine.inPrecision('tf32')
    await engine.run('double', double, { x }, { y: x })
    await reduced.run('double', double, { x }, { y })
    expect(opened.filter(of => of.startsWith('double'))).toEqual(['double float32', 'double tf32'])
    expect(engine.moved).toEqual({ toDevice: 12, fromDevice: 0 })
    const gram = reduced.linalg.syrk(3, 'gram')
    await gram.add(engine.array([3, 1], Float32Array.of(1, 2, 3)))
    expect(await hostOf(y)).toEqual(Float32Array.of(4, 8, 12))
    expect(opened.filter(of => of.startsWith('syrk')).every(of => of.endsWith('tf32'))).toBe(true)
    expect(() => engine.inPrecision('bf16')).toThrow(
      'Products in bf16 are OpenVINO’s, on the CPU in Node only (device is cuda).',
    )
    await engine.close()
  },
)

test('elsewhere there are no products in TF32', () => {
  expect(() => createEngine(runtime).inPrecision('tf32')).toThrow(
    'Products in tf32 are an NVIDIA GPU’s by --device cuda',
  )
})
