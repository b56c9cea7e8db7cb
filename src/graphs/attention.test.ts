import { afterAll, expect, test } from 'vitest'
import { someOf } from '../../test/nightly.ts'
import { random as numbers } from '../../test/random.ts'
import { openEngine } from '../engine/engine.node.ts'
import { type Engine, type Values, values } from '../engine/engine.ts'
import type { Graph } from '../formats/onnx.ts'
import type { Floats } from '../formats/tensors.ts'
import { HalfBlockRunner } from '../forward/runner.ts'
import type { HalfWeights } from '../forward/weights.ts'
import { attentionHalves } from '../model/architecture.ts'
import { type AttentionHalf, hiddenSize, hiddenWidth, type Norm, type NormRole } from '../model/half-block.ts'
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

function withHeadNorms(half: AttentionHalf): AttentionHalf {
  const norm = (name: string): Norm => ({ name, type: 'rms', size: half.headSize, epsilon: 1e-5, affine: true })
  return { ...half, norms: { ...half.norms, query: norm('q_norm'), key: norm('k_norm') } }
}

/** Half of each head, neighbours with each other. */
function turnedInPart(half: AttentionHalf): AttentionHalf {
  const rope = {
    theta: 100,
    inverseFrequencies: Float64Array.of(1, 0.1, 0, 0),
    factor: 1.3,
    order: [0, 2, 4, 5, 1, 3, 6, 7],
  }
  return { ...half, rope }
}

let seed = 0
/** Other values with each call, and the same in each run. */
const random = (...shape: number[]): Values<Floats> =>
  values(
    numbers(
      shape.reduce((p, q) => p * q),
      seed++,
    ),
    shape,
  )

/** `H` of the first tokens of the first window, in float64, from the definition. */
function reference(half: AttentionHalf, feeds: Record<string, Values<Float32Array>>, length: number): number[][] {
  const { heads, kvHeads, headSize: e, scale, rope, window = Infinity, cap } = half
  const [count, d] = [Math.min(length, 40), hiddenSize(half)]
  const rms = (x: number[], role: NormRole) => {
    const norm = half.norms[role]
    if (!norm) return x
    const size = Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / x.length + norm.epsilon)
    return x.map((v, i) => (v / size) * feeds[`${role}.weight`].data[i])
  }
  const turn = (stored: number[], p: number) => {
    const x = rope?.order ? rope.order.map(channel => stored[channel]) : stored
    return x.map((v, i) => {
      const frequency = rope?.inverseFrequencies[i % (e / 2)]
      if (!frequency) return v
      const [cos, sin] = [Math.cos, Math.sin].map(f => (rope.factor ?? 1) * f(p * frequency))
      return v * cos + (i < e / 2 ? -x[i + e / 2] : x[i - e / 2]) * sin
    })
  }
  const tokens = Array.from({ length: count }, (_, t) => rms([...feeds.x.data.subarray(t * d, (t + 1) * d)], 'before'))
  const projected = (i: number, head: number, x: number[]) =>
    Array.from({ length: e }, (_, c) => {
      const row = head * e + c
      const sum = x.reduce((sum, v, j) => sum + v * feeds[`in${i}.weight`].data[row * d + j], 0)
      return sum + (feeds[`in${i}.bias`]?.data[row] ?? 0)
    })
  return tokens.map((x, t) =>
    Array.from({ length: heads }, (_, head) => {
      const kv = Math.floor((head * kvHeads) / heads)
      const q = turn(rms(projected(0, head, x), 'query'), t)
      const scores = tokens.slice(0, t + 1).map((other, s) => {
        if (t - s >= window) return -Infinity
        const k = turn(rms(projected(1, kv, other), 'key'), s)
        const score = scale * q.reduce((sum, v, c) => sum + v * k[c], 0)
        return cap ? cap * Math.tanh(score / cap) : score
      })
      const weights = scores.map(score => Math.exp(score))
      const total = weights.reduce((sum, w) => sum + w, 0)
      const v = tokens.slice(0, t + 1).map(other => projected(2, kv, other))
      return Array.from({ length: e }, (_, c) => weights.reduce((sum, w, s) => sum + (w / total) * v[s][c], 0))
    }).flat(),
  )
}

/** Windows of some blocks that a case of every run has, too. */
const LONGER = /^(no rotary|another scale|a window (in a block|of all))/
const DIALECTS: [string, AttentionHalf, number, number][] = [
  ['one head', ofHeads(1, 1, 8, true), 1, 5],
  ['grouped heads, of a size that GroupQueryAttention wants padded', ofHeads(6, 2, 6, true), 2, 300],
  ['no rotary positions, biases', ofHeads(4, 4, 16, false), 3, 256],
  ['several blocks of queries', ofHeads(2, 1, 16, true), 1, 1000],
  ['another scale', { ...ofHeads(2, 2, 8, true), scale: 0.1 }, 1, 200],
  ['a window in a block', ofHeads(2, 1, 8, true, 20), 2, 256],
  ['a window of some blocks', ofHeads(2, 1, 16, true, 300), 1, 1000],
  ['a window of all', ofHeads(2, 1, 16, true, 256), 2, 256],
  ['half of each head turned', turnedInPart(ofHeads(2, 1, 8, true)), 2, 256],
  ['norms of heads, a cap', { ...withHeadNorms(ofHeads(4, 2, 8, true)), cap: 0.7 }, 2, 256],
]
test.each(someOf(DIALECTS, ([name]) => !LONGER.test(name)))(
  'all dialects give the same, by the definition: %s',
  async (_, half, windows, length) => {
    const [d, n, width] = [hiddenSize(half), windows * length, hiddenWidth(half)]
    const ofTables = [length + 7, paddedHeadSize(half) / 2]
    const tables = half.rope && rotaryTables(half, half.rope.inverseFrequencies, length + 7)
    const layers = half.inputs.map(({ out, bias }, i) => ({
      [`in${i}.weight`]: random(out, d),
      ...(bias && { [`in${i}.bias`]: random(out) }),
    }))
    const output = { 'out.weight': random(d, width), ...(half.output.bias && { 'out.bias': random(d) }) }
    const norms = Object.entries(half.norms).map(([role, { size }]) => ({ [`${role}.weight`]: random(size) }))
    const feeds = Object.assign({ x: random(n, d) }, ...norms, ...layers, {
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
    const h = values(new Float32Array(width * n), [width, n])
    await engine.run(`attention reference ${_}`, () => hiddenGraph(half, forms[1]), feeds, { h })
    const expected = reference(half, feeds, length)
    for (const [t, row] of expected.entries())
      for (const [i, v] of row.entries()) expect(Math.abs(h.data[i * n + t] - v)).toBeLessThan(2e-5)
    await expectSame(form => halfBlockGraph(half, form), output, 'y')
  },
)

test.each([
  ['blocks', [1, 0, 1, 0, 1]],
  ['operator', [1, 1, 1, 1, 1]],
] as const)('windows of some lengths go in blocks: %s', async (attention, expected) => {
  const half = ofHeads(2, 1, 16, true)
  const graphs: Graph[] = []
  const run: Engine['run'] = async (_, build) => void graphs.push(build())
  const dialect = { attention, residual: 'graph' } as const
  const engine = { dialect, run, tensor: values, inPrecision: () => engine } as Pick<
    Engine,
    'dialect' | 'run' | 'tensor' | 'inPrecision'
  > as Engine
  const runner = new HalfBlockRunner(engine, 2048)
  const layer = (out: number) => ({ weight: new Float32Array(out * hiddenSize(half)) })
  const inputs = [32, 16, 16].map(layer)
  const weights: HalfWeights = { half, norms: {}, inputs, output: layer(32) }
  for (const length of [128, 256, 300, 1024, 1152]) {
    const [x, h] = [hiddenSize(half), 32].map(width => new Float32Array(length * width))
    await runner.hidden(weights, x, 1, h)
  }
  expect(
    graphs.map(({ nodes }) => nodes.filter(({ type }) => type === 'com.microsoft.GroupQueryAttention').length),
  ).toEqual(expected)
})

/** As on a device whose operator is wrong. */
const products: Engine = {
  ...engine,
  dialect: { ...engine.dialect, attention: 'products' },
  inPrecision: () => products,
}

/** Weights of such an attention, and windows of so many tokens to read. */
function made(half: AttentionHalf, windows: number, length: number) {
  const [d, width] = [hiddenSize(half), hiddenWidth(half)]
  const layer = (out: number, from: number, bias: boolean) => ({
    weight: random(out, from).data,
    ...(bias && { bias: random(out).data }),
  })
  const inputs = half.inputs.map(({ out, bias }) => layer(out, d, bias))
  const norms = Object.fromEntries(
    Object.entries(half.norms).map(([role, { size }]) => [role, { [`${role}.weight`]: random(size) }]),
  )
  const weights: HalfWeights = { half, norms, inputs, output: layer(d, width, half.output.bias) }
  return { weights, x: random(windows * length, d) }
}

const SPECIAL: [string, AttentionHalf, number, number][] = [
  ['grouped heads, of a size that is padded', ofHeads(6, 2, 6, true), 2, 40],
  ['no rotary positions, biases', ofHeads(4, 4, 16, false), 3, 40],
  ['several blocks of queries', ofHeads(2, 1, 16, true), 1, 300],
  ['a window', ofHeads(2, 1, 8, true, 20), 2, 40],
  ['half of each head turned', turnedInPart(ofHeads(2, 1, 8, true)), 1, 40],
  ['norms of heads, a cap', { ...withHeadNorms(ofHeads(4, 2, 8, true)), cap: 0.7 }, 2, 40],
]

test.each(SPECIAL)(
  'with a cache, piece by piece, both give what whole windows get: %s',
  async (_, half, windows, length) => {
    const { weights, x } = made(half, windows, length)
    const d = hiddenSize(half)
    const whole = x.data.slice()
    await new HalfBlockRunner(engine, length).forward(weights, whole, windows)
    for (const on of [engine, products]) {
      // The operator takes several tokens after others in one window only.
      const pieces = on === products || windows === 1 ? [length - 12, length - 3] : []
      const starts = [0, ...pieces, length - 2, length - 1, length]
      const runner = new HalfBlockRunner(on, length + 5)
      const cache = runner.cache(half, windows)
      for (const stale of [0, 9]) {
        for (const { data } of [cache.key, cache.value]) data.fill(stale) // of a text before
        cache.past = 0
        for (const [i, from] of starts.slice(0, -1).entries()) {
          const rows = starts[i + 1] - from
          const at = (w: number) => [(w * length + from) * d, (w * length + from + rows) * d]
          const piece = new Float32Array(windows * rows * d)
          for (let w = 0; w < windows; w++) piece.set(x.data.subarray(...at(w)), w * rows * d)
          await runner.forward(weights, piece, windows, piece, cache)
          cache.past += rows
          for (let w = 0; w < windows; w++)
            for (const [j, v] of whole.subarray(...at(w)).entries())
              expect(Math.abs(piece[w * rows * d + j] - v)).toBeLessThan(2e-5)
        }
      }
    }
  },
)

test.each(SPECIAL.filter(([, { window }]) => !window))('windows that branch: %s', async (_, half, windows, length) => {
  const { weights, x } = made(half, windows, length)
  const [d, trunk, second] = [hiddenSize(half), 10, 25]
  const place = (row: number) => (row < second ? row : row - second + trunk)
  const places = BigInt64Array.from({ length: windows * length }, (_, i) => BigInt(place(i % length)))
  const bias = new Float32Array(windows * length * length)
  for (let row = 0; row < windows * length; row++)
    if (row % length >= second) bias.fill(-1e30, row * length + trunk, row * length + second)
  const branches = { places: values(places, [windows, length]), bias: values(bias, [windows, 1, length, length]) }
  const rows = (w: number, from: number, to: number) => x.data.subarray((w * length + from) * d, (w * length + to) * d)
  for (const on of [engine, products]) {
    const runner = new HalfBlockRunner(on, length)
    const found = x.data.slice()
    await runner.forward(weights, found, windows, found, undefined, branches)
    for (let w = 0; w < windows; w++)
      for (const [from, to] of [
        [trunk, second],
        [second, length],
      ]) {
        const alone = Float32Array.from([...rows(w, 0, trunk), ...rows(w, from, to)])
        await runner.forward(weights, alone, 1)
        for (const [i, v] of alone.subarray(trunk * d).entries())
          expect(Math.abs(found[(w * length + from) * d + i] - v)).toBeLessThan(2e-5)
      }
  }
})
