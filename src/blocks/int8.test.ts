import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { INT8 } from '../../test/cpu.ts'
import { openEngine } from '../engine/engine.node.ts'
import { type Engine, values } from '../engine/engine.ts'
import { Graph } from '../formats/onnx.ts'
import { checkInt8, linearInt8, toInt8 } from './int8.ts'

type Floats = Float32Array<ArrayBuffer>

const engine = openEngine()
afterAll(() => engine.close())

/** `x Wᵀ + b` by the graph. */
async function product(x: Floats, weight: Floats, bias: Floats | undefined, input: number): Promise<Floats> {
  const [n, out] = [x.length / input, weight.length / input]
  const { codes, step } = await toInt8(engine, weight, input)
  const build = () => {
    const g = new Graph('layer')
    const y = linearInt8(g, g.input('x', 'float32', ['n', 'in']), 'layer', 'out', 'in', bias !== undefined)
    g.output('y', y, 'float32', ['n', 'out'])
    return g
  }
  const y = values(new Float32Array(n * out), [n, out])
  const feeds = {
    x: values(x, [n, input]),
    'layer.codes': codes,
    'layer.step': step,
    ...(bias && { 'layer.bias': values(bias, [out]) }),
  }
  await engine.run(`test ${bias !== undefined}`, build, feeds, { y })
  return y.data
}

const toEven = (v: number): number => {
  const low = Math.floor(v)
  return v - low === 0.5 ? 2 * Math.round(v / 2) : Math.round(v)
}

/** Each row rounded to multiples of 1/127 of its largest, by the definition. */
const rounded = (matrix: Floats, columns: number): Floats =>
  matrix.map((v, i) => {
    const row = matrix.subarray(i - (i % columns), i - (i % columns) + columns)
    const step = Math.fround(Math.fround(row.reduce((most, w) => Math.max(most, Math.abs(w)), 1e-30)) / 127)
    return toEven(Math.fround(v / step)) * step
  })

const matrices = fc
  .record({
    n: fc.integer({ min: 1, max: 70 }),
    out: fc.integer({ min: 1, max: 70 }),
    input: fc.integer({ min: 1, max: 70 }),
  })
  .chain(({ n, out, input }) => {
    const floats = (length: number) =>
      fc
        .array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: length, maxLength: length })
        .map(v => Float32Array.from(v))
    return fc.record({
      x: floats(n * input),
      weight: floats(out * input),
      bias: fc.option(floats(out), { nil: undefined }),
      input: fc.constant(input),
    })
  })

describe('where integers are not to be had', () => {
  test('on another device', () =>
    expect(checkInt8({ ...engine, device: 'webgpu' })).rejects.toThrow(
      'products int8 runs on the CPU only, and device is webgpu',
    ))
  test('sums that were cut to 16 bits', () => {
    const cut: Engine = {
      ...engine,
      run: async (key, build, feeds, outputs) => {
        await engine.run(key, build, feeds, outputs)
        if (outputs.y) (outputs.y.data as Floats)[100] *= 0.5
      },
    }
    return expect(checkInt8(cut)).rejects.toThrow('and this one does not. Leave it out.')
  })
  if (!INT8)
    test('on this CPU', () => expect(checkInt8(engine)).rejects.toThrow('and this one does not. Leave it out.'))
})

if (INT8)
  describe('where they are to be had', () => {
    test('says so', () => checkInt8(engine))

    test('is the product of rows rounded to 255 steps of their own', () =>
      fc.assert(
        fc.asyncProperty(matrices, async ({ x, weight, bias, input }) => {
          const y = await product(x, weight, bias, input)
          const [a, b] = [rounded(x, input), rounded(weight, input)]
          const out = weight.length / input
          for (let i = 0; i < y.length; i++) {
            const [row, o] = [Math.floor(i / out), i % out]
            let sum = bias?.[o] ?? 0
            for (let j = 0; j < input; j++) sum += a[row * input + j] * b[o * input + j]
            expect(Math.abs(y[i] - sum)).toBeLessThanOrEqual(1e-4 * input)
          }
        }),
        { numRuns: 50 },
      ))

    test('what is not finite stays so, in its own row', async () => {
      const weight = Float32Array.from({ length: 32 * 40 }, (_, i) => Math.sin(i))
      for (const bad of [NaN, Infinity, -Infinity]) {
        const x = new Float32Array(2 * 40).fill(1)
        x[17] = bad
        const y = await product(x, weight, undefined, 40)
        expect(Array.from(y, Number.isFinite)).toEqual(Array.from(y, (_, i) => i >= 32))
      }
    })
  })
