// Each rule against differences: ⟨∂L/∂x, u⟩ of L = Σ w ∘ f(x) is (L(x + hu) − L(x − hu)) / 2h for any direction u.
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { randomNumbers } from '../base/random.ts'
import { openEngine } from '../engine/engine.node.ts'
import { values } from '../engine/engine.ts'
import { type Data, Graph, type Value } from '../formats/onnx.ts'
import { elements } from '../formats/tensors.ts'
import { divergenceGraph, lossGraph } from '../graphs/head.ts'
import { differentiate } from './differentiate.ts'

const engine = openEngine()
afterAll(() => engine.close())

/** Half the step: of float32, whose roundings are 1e-7 of values near 1. */
const STEP = 0.01
const TOLERANCE = 1e-3

interface Case {
  /** Of the inputs. */
  readonly shapes: readonly (readonly number[])[]
  readonly build: (g: Graph, inputs: readonly Value[]) => Value
  readonly output: readonly number[]
  /** Integers that are no constants. */
  readonly indices?: { readonly shape: readonly number[]; readonly below: number }
  /** Takes the numbers [-1, 1) to where the function is smooth. */
  readonly domain?: (v: number) => number
}

let sessions = 0

async function check({ shapes, build, output, indices, domain = v => v }: Case, seed: number): Promise<void> {
  const random = randomNumbers(seed)
  const draw = (shape: readonly number[]) => Float32Array.from({ length: elements(shape) }, () => 2 * random() - 1)
  const names = shapes.map((_, i) => `x${i}`)
  const graph = () => {
    const g = new Graph('test')
    const inputs = shapes.map((shape, i) => g.input(names[i], 'float32', shape))
    if (indices) inputs.push(g.input('indices', 'int64', indices.shape))
    g.output('y', build(g, inputs), 'float32', output)
    return g
  }
  const x = shapes.map(shape => draw(shape).map(domain))
  const [w, u] = [draw(output), shapes.map(draw)]
  const ids =
    indices &&
    BigInt64Array.from({ length: elements(indices.shape) }, () => BigInt(Math.floor(indices.below * random())))
  const feeds = (at: readonly Data[]) => ({
    ...Object.fromEntries(at.map((data, i) => [names[i], values(data, shapes[i])])),
    ...(ids && { indices: values(ids, indices.shape) }),
  })
  const key = `test ${sessions++}`
  const loss = async (h: number) => {
    const y = new Float32Array(w.length)
    const at = x.map((data, i) => data.map((v, j) => v + h * u[i][j]))
    await engine.run(key, graph, feeds(at), { y: values(y, output) })
    return y.reduce((sum, v, i) => sum + v * w[i], 0)
  }
  const found = shapes.map(shape => values(new Float32Array(elements(shape)), shape))
  const gradients = () => {
    const g = graph()
    const of = differentiate(g, 'y', g.input('w', 'float32', output), names)
    g.outputOnly(names.map((name, i) => [`d ${name}`, g.op('Identity', [of.get(name)!]), shapes[i]]))
    return g
  }
  const outputs = Object.fromEntries(found.map((d, i) => [`d ${names[i]}`, d]))
  await engine.run(`${key} back`, gradients, { ...feeds(x), w: values(w, output) }, outputs)
  let [along, size] = [0, 1]
  for (const [i, { data }] of found.entries())
    for (const [j, d] of data.entries()) {
      along += d * u[i][j]
      size += Math.abs(d * u[i][j])
    }
  expect(Math.abs(((await loss(STEP)) - (await loss(-STEP))) / (2 * STEP) - along)).toBeLessThan(TOLERANCE * size)
}

const unary =
  (type: string, attributes = {}, domain?: Case['domain']) =>
  (a: number, b: number) => ({
    shapes: [[a, b]],
    output: [a, b],
    build: (g: Graph, [x]: readonly Value[]) => g.op(type, [x], attributes),
    domain,
  })
const binary =
  (type: string, first: number[] | undefined, second: number[] | undefined, domain?: Case['domain']) =>
  (a: number, b: number, c: number): Case => ({
    shapes: [first, second].map(sizes => sizes?.map(i => [1, a, b, c][i]) ?? [a, b, c]),
    output: [a, b, c],
    build: (g, inputs) => g.op(type, inputs),
    domain,
  })
const gemm =
  (transA: number, transB: number, bias?: 'row' | 'column') =>
  (a: number, b: number, c: number): Case => ({
    shapes: [transA ? [b, a] : [a, b], transB ? [c, b] : [b, c], ...(bias ? [bias === 'row' ? [c] : [a, 1]] : [])],
    output: [a, c],
    build: (g, inputs) => g.op('Gemm', inputs, { transA, transB, alpha: { float: 0.7 } }),
  })
const norm =
  (type: string, bias: boolean) =>
  (a: number, b: number, c: number): Case => ({
    shapes: [[a, b, c + 2], [c + 2], ...(bias ? [[c + 2]] : [])],
    output: [a, b, c + 2],
    build: (g, inputs) => g.op(type, inputs, { axis: -1, epsilon: { float: 0.3 } }),
  })
const ints = (g: Graph, ...list: number[]) => g.constant('int64', list)
/** Away from 0. */
const apart = (v: number) => v + Math.sign(v)

const RULES: Record<string, (a: number, b: number, c: number) => Case> = {
  Add: binary('Add', undefined, undefined),
  'Add of a row': binary('Add', undefined, [3]),
  'Add to a column': binary('Add', [2, 0], undefined),
  Sub: binary('Sub', [0, 2, 0], undefined),
  Mul: binary('Mul', undefined, [1, 0, 3]),
  'Mul with itself': (a, b) => ({ shapes: [[a, b]], output: [a, b], build: (g, [x]) => g.op('Mul', [x, x]) }),
  Div: binary('Div', undefined, [2, 3], apart),
  'Div of a row': binary('Div', [3], undefined, apart),
  Neg: unary('Neg'),
  Exp: unary('Exp'),
  Tanh: unary('Tanh'),
  Relu: unary('Relu', {}, apart),
  'com.microsoft.QuickGelu': unary('com.microsoft.QuickGelu', { alpha: { float: 1.3 } }, v => 3 * v),
  Gelu: unary('Gelu', {}, v => 2 * v),
  'Gelu by tanh': unary('Gelu', { approximate: 'tanh' }, v => 2 * v),
  Softmax: unary('Softmax', { axis: -1 }, v => 3 * v),
  LogSoftmax: unary('LogSoftmax', { axis: -1 }, v => 3 * v),
  ReduceSum: (a, b, c) => ({
    shapes: [[a, b, c]],
    output: [a, 1, c],
    build: (g, [x]) => g.op('ReduceSum', [x, ints(g, 1)], { keepdims: 1 }),
  }),
  Gemm: gemm(0, 0, 'row'),
  'Gemm of Aᵀ': gemm(1, 0, 'column'),
  'Gemm of Bᵀ': gemm(0, 1, 'row'),
  'Gemm of both': gemm(1, 1),
  MatMul: (a, b, c) => ({
    shapes: [
      [a, b, 3, c],
      [a, 1, c, 2],
    ],
    output: [a, b, 3, 2],
    build: (g, inputs) => g.op('MatMul', inputs),
  }),
  Transpose: (a, b, c) => ({
    shapes: [[a, b, c]],
    output: [b, c, a],
    build: (g, [x]) => g.op('Transpose', [x], { perm: [1, 2, 0] }),
  }),
  Reshape: (a, b, c) => ({
    shapes: [[a, b, c]],
    output: [c, b * a],
    build: (g, [x]) => g.op('Mul', [g.op('Reshape', [x, ints(g, c, -1)]), g.op('Reshape', [x, ints(g, c, -1)])]),
  }),
  Slice: (a, b, c) => ({
    shapes: [[a, b + 2, c]],
    output: [a, b + 1, c],
    build: (g, [x]) => g.op('Slice', [x, ints(g, 1), ints(g, 99), ints(g, 1)]),
  }),
  Concat: (a, b, c) => ({
    shapes: [
      [a, b],
      [a, c],
    ],
    output: [a, b + c + b],
    build: (g, [x, y]) => g.op('Concat', [x, y, x], { axis: -1 }),
  }),
  Split: (a, b) => ({
    shapes: [[a, 2 * b]],
    output: [a, b],
    build: (g, [x]) => {
      const [p, q] = g.ops('Split', [x], 2, { axis: -1, num_outputs: 2 })
      return g.op('Mul', [p, g.op('Exp', [q])])
    },
  }),
  'Split of which a part is used': (a, b) => ({
    shapes: [[a, 2 * b]],
    output: [a, b],
    build: (g, [x]) => g.ops('Split', [x], 2, { axis: -1, num_outputs: 2 })[1],
  }),
  Gather: (a, b) => ({
    shapes: [[a, 3 * b]],
    output: [a, 3 * b],
    build: (g, [x]) =>
      g.op('Gather', [x, ints(g, ...Array.from({ length: 3 * b }, (_, i) => (i % 3) * b + Math.floor(i / 3)))], {
        axis: 1,
      }),
  }),
  GatherElements: (a, b, c) => ({
    shapes: [[a, b]],
    output: [a, c],
    indices: { shape: [a, c], below: b },
    build: (g, inputs) => g.op('GatherElements', inputs, { axis: 1 }),
  }),
  SimplifiedLayerNormalization: norm('SimplifiedLayerNormalization', false),
  RMSNormalization: norm('RMSNormalization', false),
  LayerNormalization: norm('LayerNormalization', true),
}

test.each(Object.entries(RULES))('%s', async (_, of) => {
  const size = fc.integer({ min: 1, max: 4 })
  const made = fc.asyncProperty(size, size, size, fc.integer(), (a, b, c, seed) => check(of(a, b, c), seed))
  await fc.assert(made, { numRuns: 12, seed: 1 })
})

/** Gradient of one input of a graph [n, v] whose output is [n, 1], 1 over each row. */
async function gradientOf(key: string, graph: () => Graph, of: string, feeds: Record<string, Data>, n: number) {
  const [shape, column] = [
    [n, feeds[of].length / n],
    [n, 1],
  ]
  const build = () => {
    const g = graph()
    const d = differentiate(g, key, g.input('d', 'float32', ['n', 1]), [of])
    g.outputOnly([['found', d.get(of)!, ['n', 'v']]])
    return g
  }
  const given = Object.entries(feeds).map(([name, data]) => [name, values(data, [n, data.length / n])])
  const found = values(new Float32Array(feeds[of].length), shape)
  const ones = values(new Float32Array(n).fill(1), column)
  await engine.run(`${key} back`, build, { ...Object.fromEntries(given), d: ones }, { found })
  return found.data
}

const softmax = (row: Float32Array) => {
  const total = row.reduce((sum, v) => sum + Math.exp(v), 0)
  return row.map(v => Math.exp(v) / total)
}

test('of KL(p ‖ q) by the logits of q it is q − p, of −log q by its logits q less 1 at the target', async () => {
  const random = randomNumbers(4)
  const [p, q] = [0, 1].map(() => Float32Array.from({ length: 3 * 7 }, () => 4 * random() - 2))
  const targets = BigInt64Array.of(6n, 0n, 3n)
  const divergence = await gradientOf('kl', divergenceGraph, 'others', { logits: p, others: q }, 3)
  const loss = await gradientOf('nll', lossGraph, 'logits', { logits: q, targets }, 3)
  for (let row = 0; row < 3; row++) {
    const [ps, qs] = [p, q].map(logits => softmax(logits.subarray(row * 7, (row + 1) * 7)))
    for (const [i, probability] of qs.entries()) {
      expect(divergence[row * 7 + i]).toBeCloseTo(probability - ps[i], 6)
      expect(loss[row * 7 + i]).toBeCloseTo(probability - (BigInt(i) === targets[row] ? 1 : 0), 6)
    }
  }
})

test('an operator without a rule is named, where it is on the way', () => {
  const g = new Graph('test')
  const [x, mask] = ['x', 'mask'].map(name => g.input(name, 'float32', [2, 2]))
  const y = g.op('Mul', [g.op('Neg', [x]), g.op('Trilu', [mask])])
  expect([...differentiate(g, y, 'dy', ['x']).keys()]).toEqual(['x'])
  expect(() => differentiate(g, y, 'dy', ['x', 'mask'])).toThrow('No gradient of the operator Trilu is known')
  const twice = g.op('Gather', [x, ints(g, 1, 1)], { axis: 1 })
  expect(() => differentiate(g, twice, 'dy', ['x'])).toThrow('Gather is known: it does not take each index once')
})
