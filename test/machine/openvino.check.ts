import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as runtime from 'onnxruntime-node'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { createEngine, type Engine, values } from '../../src/engine/engine.ts'
import { nativeGraphs } from '../../src/engine/native.node.ts'
import { openBf16, openOpenVino } from '../../src/engine/openvino.node.ts'
import { RUNTIME_VERSION } from '../../src/engine/ort/package.node.ts'
import { Graph } from '../../src/formats/onnx.ts'
import { halfBlockGraph, hiddenGraph, residualGraph } from '../../src/graphs/half-block.ts'
import { GramAccumulator } from '../../src/method/statistics/gram.ts'
import { architectureOf } from '../../src/model/model.ts'
import { heal, openEngine, prune } from '../../src/node.ts'
import { describeMachine } from '../../src/report/machine.node.ts'
import { parseResult } from '../../src/report/parse-result.ts'
import { BF16 } from '../cpu.ts'
import { withBlas } from '../devices.ts'
import { perplexity } from '../evaluation.ts'
import { run, TINY_LLAMA } from '../fasp.ts'
import { finish } from '../finish.ts'
import { expectNear } from '../near.ts'
import { someOf } from '../nightly.ts'
import { withModel } from '../opened.ts'
import { asWindows, goldenOf, TINY_MODELS, TINY_NAMES } from '../tiny.ts'
import { configOf } from '../workloads.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fasp-openvino-'))
})
afterAll(() => rm(folder, { recursive: true }))
afterEach(() => void vi.unstubAllEnvs())

/** To the nearest, ties to even. */
function rounded(x: Float32Array): Float32Array {
  const bits = new Uint32Array(x.slice().buffer)
  return new Float32Array(bits.map(b => (b + 0x7fff + ((b >>> 16) & 1)) & 0xffff0000).buffer)
}

const random = (length: number) => Float32Array.from({ length }, () => 2 * Math.random() - 1)

/** On the CPU with OpenVINO, which has to take graphs whole. */
function openWhole(): Engine {
  const bf16 = () => openBf16(RUNTIME_VERSION, undefined, true)
  return createEngine(runtime, {}, { graphs: nativeGraphs(RUNTIME_VERSION), reduced: { bf16 } })
}

const windowsOf = (length: number) => ({
  seqLen: length,
  windows: [1, 2, 3, 4].map(step => Int32Array.from({ length }, (_, i) => (7 * step * i) % 100)),
  texts: [{ name: 'ids', tokens: 4 * length, available: 4, used: 4 }],
})

const blas = await withBlas()
const beside = blas.missing ? {} : { blas: 'auto' }

if (BF16)
  describe('products in bfloat16', () => {
    // Against sums of our own, with results that overwrite what they are made from.
    const engine = openWhole()
    afterAll(() => engine.close())

    test('add up in float32', async () => {
      const [n, m, k] = [37, 24, 500]
      const [a, b, y] = [random(n * k), random(m * k), new Float32Array(n * m)]
      const build = () => {
        const g = new Graph('product')
        const operands = [g.input('a', 'float32', ['n', k]), g.input('b', 'float32', ['m', k])]
        g.output('y', g.op('Gemm', operands, { transB: 1 }), 'float32', ['n', 'm'])
        return g
      }
      const feeds = { a: values(a, [n, k]), b: values(b, [m, k]) }
      await engine.inPrecision('bf16').run('product', build, feeds, { y: values(y, [n, m]) })
      const [p, q] = [rounded(a), rounded(b)]
      for (let i = 0; i < n; i++)
        for (let j = 0; j < m; j++) {
          let sum = 0
          for (let l = 0; l < k; l++) sum += p[i * k + l] * q[j * k + l]
          expect(Math.abs(y[i * m + j] - sum)).toBeLessThan(1e-4)
        }
    })

    test('of a Gram matrix add up from run to run', async () => {
      const [width, tokens] = [70, 40]
      const gram = new GramAccumulator(engine.inPrecision('bf16'), width)
      const parts = [1, 2, 3].map(() => random(width * tokens))
      for (const h of parts) await gram.add({ h, tokens })
      const statistics = await gram.finish()
      const exact = parts.map(rounded)
      for (let i = 0; i < width; i++)
        for (let j = 0; j < width; j++) {
          let sum = 0
          for (const h of exact) for (let t = 0; t < tokens; t++) sum += h[i * tokens + t] * h[j * tokens + t]
          expect(Math.abs(statistics.gram[i * width + j] - sum)).toBeLessThan(1e-4)
        }
      for (const [i, mean] of statistics.mean.entries()) {
        let sum = 0
        for (const h of parts) for (let t = 0; t < tokens; t++) sum += h[i * tokens + t]
        expect(Math.abs(mean - sum / (3 * tokens))).toBeLessThan(1e-3)
      }
      expect(statistics.tokens).toBe(3 * tokens)
    })

    test('leave the stream that they add to as it is, in place', async () => {
      const [n, d, f] = [40, 24, 50]
      const [h, weight, x] = [random(f * n), random(d * f), random(n * d).map(v => 1e6 * v)]
      const kept = Int32Array.from({ length: f }, (_, i) => i)
      const half = {
        ...({ kind: 'ffn', layer: 0, norms: {}, inputs: [], coupled: [], activation: 'relu' } as const),
        output: { name: 'out', out: d, in: f, bias: false },
      }
      const stream = values(x.slice(), [n, d])
      const feeds = { x: stream, h: values(h, [f, n]), kept: values(kept, [f]), 'out.weight': values(weight, [d, f]) }
      await engine.inPrecision('bf16').run('residual', () => residualGraph(half, false), feeds, { y: stream })
      for (let t = 0; t < n; t++)
        for (let o = 0; o < d; o++) {
          let sum = x[t * d + o]
          for (let i = 0; i < f; i++) sum += h[i * n + t] * weight[o * f + i]
          expect(Math.abs(stream.data[t * d + o] - sum)).toBeLessThan(0.2) // a millionth part of x is 1, its last bit 0.06
        }
    })

    test('may overwrite an input that is read after them', async () => {
      const [n, a, b, c] = [64, ...[1, 2, 3].map(() => values(random(64 * 64), [64, 64]))] as const
      const build = () => {
        const g = new Graph('product added to')
        const inputs = ['a', 'b', 'c'].map(name => g.input(name, 'float32', [n, n]))
        g.output('y', g.op('Gemm', inputs), 'float32', [n, n])
        return g
      }
      const graphs = engine.inPrecision('bf16')
      const [apart, inPlace] = [values(new Float32Array(n * n), [n, n]), values(c.data.slice(), [n, n])]
      await graphs.run('product added to', build, { a, b, c }, { y: apart })
      await graphs.run('product added to', build, { a, b, c: inPlace }, { y: inPlace })
      expect(inPlace.data).toEqual(apart.data)
    })

    test.each(['smollm2', 'opt-125m'])('graphs of pruning go through it whole: %s', async workload => {
      const a = architectureOf(workload, configOf(workload))
      const graphs = openOpenVino(RUNTIME_VERSION).graphs(undefined, true)
      const form = { by: 'products', length: 300, windows: 2 } as const
      for (const half of a.halves.slice(0, 2))
        for (const graph of [
          hiddenGraph(half, form),
          halfBlockGraph(half, form),
          residualGraph(half, half.output.bias),
        ])
          await (await graphs.open(graph)).close()
      const unknown = new Graph('of an operator that it lacks')
      unknown.output('y', unknown.op('Det', [unknown.input('x', 'float32', [2, 2])]), 'float32', [])
      await expect(graphs.open(unknown)).rejects.toThrow('fallback')
    })

    test('end with the engine', async () => {
      const closing = openEngine()
      const bf16 = closing.inPrecision('bf16')
      await closing.close()
      expect(() => closing.inPrecision('bf16')).toThrow('The engine is closed.')
      const x = values(new Float32Array(1), [1])
      await expect(bf16.run('late', () => new Graph('late'), { x }, {})).rejects.toThrow('came too late')
    })

    test('come from an engine of its own, whose seconds count together', async () => {
      const engine = openEngine(beside)
      const bf16 = engine.inPrecision('bf16')
      expect([engine.dialect.attention, bf16.dialect.attention]).toEqual(['blocks', 'products'])
      expect(bf16.dialect.residual).toBe('graph') // with a BLAS, too
      expect(bf16.seconds).toBe(engine.seconds)
      await engine.close()
    })

    test('are named in results', () => {
      expect(describeMachine({}, 'bf16').openvino).toMatch(/^OpenVINO plugin \d+\.\d+\.\d+$/)
      expect(describeMachine({}).openvino).toBeUndefined()
    })

    test('heal as those in float32 do, measured in float32', async () => {
      const pruned = join(folder, 'to heal')
      const { windows, ...others } = asWindows(goldenOf('tiny-llama').calibration_windows)
      const calibration = { ...others, windows: windows.slice(1), heldOut: windows.slice(0, 1) }
      await prune(TINY_LLAMA, { sparsity: 0.3, engine, calibration, output: pruned })
      const curves = []
      for (const products of ['float32', 'bf16'] as const) {
        const how = { dense: TINY_LLAMA, calibration, tokens: 12 * 256, batch: 1, lr: 3e-4, engine, products } as const
        const healed = await heal(pruned, { ...how, output: join(folder, `healed in ${products}`) })
        expect(healed.products).toBe(products === 'bf16' ? products : undefined)
        curves.push(healed.curve.map(({ kl }) => kl))
      }
      const [float32, bf16] = curves
      expect(bf16[0]).toBe(float32[0])
      expect(float32.at(-1)).toBeLessThan(0.97 * float32[0])
      expect(bf16).not.toEqual(float32)
      for (const [i, kl] of bf16.entries()) expect(Math.abs(kl / float32[i] - 1)).toBeLessThan(5e-3)
    })

    test('heal what pruning and a comparison heal at once', async () => {
      const how = ['-s', '0.3', '--windows', '8', '--heal', '1024', '--products', 'bf16'] // on what the model writes
      await run(folder, 'prune', TINY_LLAMA, '--method', 'magnitude', ...how, '-o', 'pruned and healed')
      await run(folder, 'compare', TINY_LLAMA, '--methods', 'magnitude', ...how, '-o', 'compared.json')
      const { healed } = JSON.parse(await readFile(join(folder, 'pruned and healed/fasp.json'), 'utf8'))
      const { runs } = parseResult(await readFile(join(folder, 'compared.json'), 'utf8'), 'compared.json')
      expect([healed, runs[2].prune!.healed].map(one => one?.products)).toEqual(['bf16', 'bf16'])
    })

    test('take as many threads as they are given', async () => {
      const output = join(folder, 'one thread')
      const options = {
        sparsity: 0.3,
        method: 'plain',
        products: 'bf16',
        engine: { threads: 1 },
        calibration: windowsOf(32),
        output,
      } as const
      const { engineSeconds } = await prune(TINY_LLAMA, options)
      expect(engineSeconds.ffn).toBeGreaterThan(0)
    })
  })

describe.runIf(process.platform === 'linux' && process.arch === 'x64')('a plugin that cannot be used', () => {
  test('is not called without the C interface', () => {
    vi.stubEnv('FASP_GRAPHS', 'binding')
    expect(() => openEngine().inPrecision('bf16')).toThrow(
      'OpenVINO, from which products in bf16 come, needs Linux x64 and the package koffi',
    )
  })

  test('is looked for where Python keeps packages', async () => {
    const python = join(folder, 'lib/python3.99/site-packages/onnxruntime_ep_openvino')
    await mkdir(python, { recursive: true })
    await writeFile(join(python, 'libonnxruntime_providers_openvino_plugin.so'), 'no library')
    vi.stubEnv('VIRTUAL_ENV', folder)
    expect(() => openEngine().inPrecision('bf16')).toThrow(
      new RegExp(`^openvino: cannot load ${python}.* Install it \\(pip install`, 's'),
    )
  })

  test('is missed where there is none', () => {
    vi.stubEnv('HOME', join(folder, 'nobody'))
    vi.stubEnv('VIRTUAL_ENV', '')
    const roots = `${join(folder, 'nobody', '.local')}, /usr/local, /usr`
    let said = ''
    try {
      openEngine().inPrecision('bf16')
      said = describeMachine({}, 'bf16').openvino! // one of the system
    } catch (error) {
      said = String(error)
    }
    expect(said).toMatch(
      new RegExp(`^OpenVINO plugin|no onnxruntime_ep_openvino in a Python under ${roots}\\. Install it`),
    )
  })
})

test('on a GPU there are no products in bf16', () => {
  expect(() => openEngine({ device: 'webgpu' }).inPrecision('bf16')).toThrow(
    'Products in bf16 are OpenVINO’s, on the CPU in Node only (device is webgpu).',
  )
})

/** On the CPU in float32. */
const perplexityOn = (rows: number[][], output: string) =>
  withModel(output, async model => {
    await using engine = openEngine()
    return (await finish(perplexity(model, engine, asWindows(rows), 'evaluate'))).perplexity
  })

/** What products in bf16 may change of a perplexity: less than other calibration text does. */
const BF16_TOLERANCE = 0.005

const all = TINY_NAMES.flatMap(name => (['paper', 'stock'] as const).map(method => ({ name, method })))
const pruned = someOf(all, ({ name, method }) => name === 'tiny-llama' && method === 'stock')
if (BF16)
  describe('products in bf16', () => {
    test('cost no quality', { timeout: 120_000 }, async () => {
      for (const { name, method } of pruned) {
        const golden = goldenOf(name)
        const calibration = asWindows(golden.calibration_windows)
        const measure = async (products: 'float32' | 'bf16') => {
          const output = join(folder, `${name} ${method} ${products}`)
          await prune(TINY_MODELS[name], { method, sparsity: 0.3, products, calibration, output })
          return perplexityOn(golden.evaluation_windows, output)
        }
        const [exact, measured] = [await measure('float32'), await measure('bf16')]
        expect(measured).not.toBe(exact)
        expectNear(measured, exact, BF16_TOLERANCE)
      }
    })
  })
