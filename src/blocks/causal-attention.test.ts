import { afterAll, expect, test } from 'vitest'
import { openEngine } from '../engine/engine.node.ts'
import { type Engine, type Values, values } from '../engine/engine.ts'
import type { Graph } from '../formats/onnx.ts'
import type { Architecture } from '../model/architecture.ts'
import { attentionGraph, attentionHiddenGraph, paddedHeadSize, rotaryTables } from './attention.ts'
import type { WholeWindows } from './causal-attention.ts'
import { HalfBlockRunner } from './halfblock.ts'
import type { HalfWeights } from './weights.ts'

const engine = openEngine()
afterAll(() => engine.close())

/** The parts of an architecture that attention goes by. */
const ofHeads = (heads: number, kvHeads: number, headSize: number, rotary: boolean) =>
  ({
    ...{ hiddenSize: 24, heads, kvHeads, headSize, postNorm: false },
    norm: { type: 'rms', epsilon: 1e-5, affine: true },
    bias: { qkv: !rotary, o: false, ffn: false },
    names: { layer: { ffnIn: [] } },
    rope: rotary ? { inverseFrequencies: Float64Array.from({ length: headSize / 2 }, (_, i) => 100 ** -i) } : undefined,
  }) as unknown as Architecture

const random = (...shape: number[]): Values<Float32Array> =>
  values(
    Float32Array.from({ length: shape.reduce((p, q) => p * q) }, () => 2 * Math.random() - 1),
    shape,
  )

test.each([
  ['one head', ofHeads(1, 1, 8, true), 1, 5],
  ['grouped heads, of a size that GroupQueryAttention wants padded', ofHeads(6, 2, 6, true), 2, 300],
  ['no rotary positions, biases', ofHeads(4, 4, 16, false), 3, 256],
  ['several blocks of queries', ofHeads(2, 1, 16, true), 1, 1000],
])('in blocks it is what GroupQueryAttention gives: %s', async (_, a, windows, length) => {
  const [d, n, width] = [a.hiddenSize, windows * length, a.heads * a.headSize]
  const tables = rotaryTables(a, length + 7)
  const ofTables = [length + 7, paddedHeadSize(a) / 2]
  const outs = { q: width, k: a.kvHeads * a.headSize, v: a.kvHeads * a.headSize }
  const layers = Object.entries(outs).map(([name, out]) => ({
    [`${name}.weight`]: random(out, d),
    ...(a.bias.qkv && { [`${name}.bias`]: random(out) }),
  }))
  const feeds = Object.assign({ x: random(n, d), 'norm.weight': random(d) }, ...layers, {
    ...(tables && { cos: values(tables.cos, ofTables), sin: values(tables.sin, ofTables) }),
  })
  const whole = {
    shape: values(BigInt64Array.of(BigInt(windows), BigInt(length), -1n), [3]),
    past: values(new Int32Array(windows).fill(length - 1), [windows]),
    total: values(Int32Array.of(length), []),
  }
  const ways = ['plain', { length }, { length, windows }] as const
  const expectSame = async (build: (kind: 'plain' | WholeWindows) => Graph, more: object, out: string) => {
    const shape = out === 'h' ? [width, n] : [n, d]
    const results = await Promise.all(
      ways.map(async kind => {
        const y = values(new Float32Array(shape[0] * shape[1]), shape)
        const graph = build(kind)
        await engine.run(
          `${graph.name} ${out} ${JSON.stringify(kind)} ${_}`,
          () => graph,
          { ...feeds, ...more, ...(kind === 'plain' ? whole : {}) },
          { [out]: y },
        )
        return y.data
      }),
    )
    for (const [i, v] of results[0].entries()) for (const y of results) expect(Math.abs(v - y[i])).toBeLessThan(2e-5)
  }
  await expectSame(kind => attentionHiddenGraph(a, kind), {}, 'h')
  await expectSame(kind => attentionGraph(a, kind), { 'out.weight': random(d, width) }, 'y')
})

test.each([
  ['blocks', [1, 0, 1, 0, 1]],
  ['operator', [1, 1, 1, 1, 1]],
] as const)('windows of some lengths go in blocks: %s', async (attention, expected) => {
  const a = ofHeads(2, 1, 16, true)
  const graphs: Graph[] = []
  const run: Engine['run'] = async (_, build) => void graphs.push(build())
  const dialect = { attention, bias: true, residual: 'graph' } as const
  const engine = { dialect, run, inPrecision: () => engine } as Pick<
    Engine,
    'dialect' | 'run' | 'inPrecision'
  > as Engine
  const runner = new HalfBlockRunner(engine, a, 2048)
  const layer = (out: number) => ({ weight: new Float32Array(out * a.hiddenSize) })
  const weights = { half: { kind: 'attention' }, norm: {}, inputs: [32, 16, 16].map(layer), output: layer(32) }
  for (const length of [128, 256, 300, 1024, 1152]) {
    const [x, h] = [a.hiddenSize, 32].map(width => new Float32Array(length * width))
    await runner.hidden(weights as unknown as HalfWeights, x, 1, h)
  }
  expect(graphs.map(graph => graph.nodesOf('GroupQueryAttention').length)).toEqual(expected)
})
