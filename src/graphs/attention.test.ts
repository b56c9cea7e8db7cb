import { afterAll, expect, test } from 'vitest'
import { openEngine } from '../engine/engine.node.ts'
import { type Engine, type Values, values } from '../engine/engine.ts'
import type { Graph } from '../formats/onnx.ts'
import { HalfBlockRunner } from '../forward/halfblock.ts'
import type { HalfWeights } from '../forward/weights.ts'
import { attentionHalves } from '../model/architecture.ts'
import { type AttentionHalf, hiddenSize, hiddenWidth } from '../model/half-block.ts'
import { architectureOf } from '../model/model.ts'
import { type AttentionForm, paddedHeadSize, rotaryTables } from './attention.ts'
import { halfBlockGraph, hiddenGraph } from './half-block.ts'

const engine = openEngine()
afterAll(() => engine.close())

/** An attention of 24 hidden channels. */
function ofHeads(heads: number, kvHeads: number, headSize: number, rotary: boolean, window?: number): AttentionHalf {
  const sizes = { num_attention_heads: heads, num_key_value_heads: kvHeads, head_dim: headSize, hidden_size: 24 }
  const others = { num_hidden_layers: 1, vocab_size: 9, intermediate_size: 8, rope_theta: 100 }
  const config = { model_type: 'llama', ...sizes, ...others, attention_bias: !rotary }
  const [half] = attentionHalves(architectureOf('made', config))
  return { ...half, window, rope: rotary ? half.rope : undefined }
}

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
  ['another scale', { ...ofHeads(2, 2, 8, true), scale: 0.1 }, 1, 200],
  ['a window in a block', ofHeads(2, 1, 8, true, 20), 2, 256],
  ['a window of some blocks', ofHeads(2, 1, 16, true, 300), 1, 1000],
  ['a window of all', ofHeads(2, 1, 16, true, 256), 2, 256],
])('all dialects give the same: %s', async (_, half, windows, length) => {
  const [d, n, width] = [hiddenSize(half), windows * length, hiddenWidth(half)]
  const ofTables = [length + 7, paddedHeadSize(half) / 2]
  const tables = half.rope && rotaryTables(half, length + 7)
  const layers = half.inputs.map(({ out, bias }, i) => ({
    [`in${i}.weight`]: random(out, d),
    ...(bias && { [`in${i}.bias`]: random(out) }),
  }))
  const output = { 'out.weight': random(d, width), ...(half.output.bias && { 'out.bias': random(d) }) }
  const feeds = Object.assign({ x: random(n, d), 'before.weight': random(d) }, ...layers, {
    ...(tables && { cos: values(tables.cos, ofTables), sin: values(tables.sin, ofTables) }),
  })
  const whole = {
    shape: values(BigInt64Array.of(BigInt(windows), BigInt(length), -1n), [3]),
    past: values(new Int32Array(windows).fill(length - 1), [windows]),
    total: values(Int32Array.of(length), []),
  }
  const forms = [{ by: 'operator' }, { by: 'blocks', length }, { by: 'products', length, windows }] as const
  const expectSame = async (build: (form: AttentionForm) => Graph, more: object, out: string) => {
    const shape = out === 'h' ? [width, n] : [n, d]
    const results = await Promise.all(
      forms.map(async form => {
        const y = values(new Float32Array(shape[0] * shape[1]), shape)
        await engine.run(
          `attention ${out} ${JSON.stringify(form)} ${_}`,
          () => build(form),
          { ...feeds, ...more, ...(form.by === 'operator' ? whole : {}) },
          { [out]: y },
        )
        return y.data
      }),
    )
    for (const [i, v] of results[0].entries()) for (const y of results) expect(Math.abs(v - y[i])).toBeLessThan(2e-5)
  }
  await expectSame(form => hiddenGraph(half, form), {}, 'h')
  await expectSame(form => halfBlockGraph(half, form), output, 'y')
})

test.each([
  ['blocks', [1, 0, 1, 0, 1]],
  ['operator', [1, 1, 1, 1, 1]],
] as const)('windows of some lengths go in blocks: %s', async (attention, expected) => {
  const half = ofHeads(2, 1, 16, true)
  const graphs: Graph[] = []
  const run: Engine['run'] = async (_, build) => void graphs.push(build())
  const dialect = { attention, bias: true, residual: 'graph' } as const
  const engine = { dialect, run, tensor: values, inPrecision: () => engine } as Pick<
    Engine,
    'dialect' | 'run' | 'tensor' | 'inPrecision'
  > as Engine
  const runner = new HalfBlockRunner(engine, 2048)
  const layer = (out: number) => ({ weight: new Float32Array(out * hiddenSize(half)) })
  const inputs = [32, 16, 16].map(layer)
  const weights: HalfWeights = { half, norms: { before: {}, afterSum: {} }, inputs, output: layer(32) }
  for (const length of [128, 256, 300, 1024, 1152]) {
    const [x, h] = [hiddenSize(half), 32].map(width => new Float32Array(length * width))
    await runner.hidden(weights, x, 1, h)
  }
  expect(graphs.map(graph => graph.nodesOf('GroupQueryAttention').length)).toEqual(expected)
})
