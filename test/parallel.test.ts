// Layers whose FFN goes beside attention (GPT-NeoX): y = x + attention(x) + ffn(x), each reading x through its own norm. Streams keep x for the FFN,
// whose least squares minimise ‖H_M W'ᵀ + b' − (H Wᵀ + b + αD)‖² for H of x, D being what the layer, its attention too, lacks of the dense one.
import { expect, test } from 'vitest'
import { hostOf } from '../src/engine/engine.ts'
import { transposed } from '../src/engine/linalg/scatter.ts'
import { logLikelihoods } from '../src/evaluate/likelihood.ts'
import { memoryContext } from '../src/forward/context.ts'
import { HalfBlockRunner } from '../src/forward/runner.ts'
import { Stream } from '../src/forward/stream.ts'
import { type HalfWeights, readHalf } from '../src/forward/weights.ts'
import { cut } from '../src/method/cut.ts'
import { denseStatistics } from '../src/method/statistics/dense.ts'
import { observe } from '../src/method/statistics/observe.ts'
import { halfBlocks } from '../src/model/architecture.ts'
import { logits, MemorySink } from '../src/node.ts'
import { ActivationPool } from '../src/output/activations.ts'
import { prune } from '../src/prune/prune.ts'
import { prepare } from '../src/prune/run.ts'
import { ownMemories } from './devices.ts'
import { finish } from './finish.ts'
import { madeModel } from './model-shapes.ts'
import { random } from './random.ts'
import { memoryScratch } from './scratch.ts'
import { asWindows } from './tiny.ts'

const engines = ownMemories()
const { 'on the CPU': engine } = engines

const [d, width, tokens, alpha] = [24, 20, 96, 0.6]
const CONFIG = {
  ...{ model_type: 'gpt_neox', vocab_size: 40, hidden_size: d, intermediate_size: width, num_hidden_layers: 2 },
  ...{ num_attention_heads: 4, max_position_embeddings: 64, rotary_pct: 1 / 3, hidden_act: 'relu' },
}
const BATCHES = [0, 48].map(start => ({ windows: 2, start, tokens: 48 }))

const openScratch = async () => memoryScratch(4 * tokens * 128)

async function rowsOf(stream: Stream): Promise<Float32Array> {
  const rows = new Float32Array(tokens * d)
  await stream.read(async (x, { start }) => rows.set(await hostOf(x), start * d))
  return rows
}

/** `x Wᵀ + b` [tokens, out] of x [tokens, in], the columns given of both. */
function linear(x: Float64Array, { weight, bias }: HalfWeights['output'], out: number, columns?: Int32Array) {
  const [wide, narrow] = [x.length / tokens, weight.length / out]
  return Float64Array.from({ length: tokens * out }, (_, i) => {
    const [t, o] = [Math.floor(i / out), i % out]
    let sum = bias?.[o] ?? 0
    for (let j = 0; j < narrow; j++) sum += x[t * wide + (columns?.[j] ?? j)] * weight[o * narrow + j]
    return sum
  })
}

/** H [tokens, width] of an FFN in float64, by the definition. */
function hiddenOf({ norms, inputs }: HalfWeights, x: Float32Array): Float64Array {
  const [gamma, beta] = ['weight', 'bias'].map(part => norms.before![`before.${part}`].data)
  const normed = Float64Array.from(x)
  for (let from = 0; from < x.length; from += d) {
    const row = normed.subarray(from, from + d)
    const mean = row.reduce((sum, v) => sum + v, 0) / d
    const std = Math.sqrt(row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / d + 1e-5)
    for (let i = 0; i < d; i++) row[i] = ((row[i] - mean) / std) * gamma[i] + beta[i]
  }
  return linear(normed, inputs[0], width).map(v => Math.max(0, v))
}

const plus = (x: ArrayLike<number>, y: ArrayLike<number>) => Float64Array.from(x, (v, i) => v + y[i])

function expectSame(ours: ArrayLike<number>, theirs: ArrayLike<number>) {
  for (let i = 0; i < theirs.length; i++) expect(Math.abs(ours[i] - theirs[i])).toBeLessThan(1e-4)
}

test.each(
  Object.entries(engines).flatMap(([place, engine]) => [
    [`beside attention ${place}`, engine, true, Number.POSITIVE_INFINITY] as const,
    [`beside attention ${place}, activations in files`, engine, true, 0] as const,
    [`after attention ${place}`, engine, false, Number.POSITIVE_INFINITY] as const,
  ]),
)('an FFN %s', async (_, engine, parallel, memory) => {
  const model = madeModel({ ...CONFIG, use_parallel_residual: parallel }, 5)
  const context = { engine, pool: new ActivationPool(memory, openScratch, engine.array) }
  const rows = random(tokens * d, 9)
  const fill = async ({ start, tokens: n }: (typeof BATCHES)[0]) => rows.subarray(start * d, (start + n) * d)
  const stream = await Stream.open(context, new HalfBlockRunner(engine, 64), BATCHES, d, fill)
  const dense = await stream.fork()
  const stay = Int32Array.from({ length: width / 2 }, (_, i) => 2 * i)
  for (let layer = 0; layer < 2; layer++) {
    const [attention, ffn] = await Promise.all(halfBlocks(model.architecture, layer).map(h => readHalf(model, h)))
    const before = [await rowsOf(stream), await rowsOf(dense)]
    await dense.through(attention)
    const half = transposed(transposed(attention.output.weight, d, stay), d)
    await stream.throughPruned(attention, { output: { ...attention.output, weight: half }, columns: stay })
    const after = [await rowsOf(stream), await rowsOf(dense)]
    const [h, denseH] = (parallel ? before : after).map(x => hiddenOf(ffn, x))
    const whole = linear(h, ffn.output, d)
    const y = plus(after[1], linear(denseH, ffn.output, d))

    const fork = await stream.fork() // in the middle of the layer
    const { statistics, hidden } = await observe(stream, ffn, { stream: dense, alpha, weights: ffn })
    expectSame(await rowsOf(dense), y)
    await fork.through(ffn)
    expectSame(await rowsOf(fork), plus(after[0], whole))
    await fork.close()

    const restore = { damp: 1e-9, center: true, restore: true } as const
    const rules = { rotate: false, restore, round: (output: HalfWeights['output']) => output }
    const seen = { weights: ffn, statistics }
    const found = await cut(engine, seen, { ...rules, select: async () => ({ columns: stay }) })
    const lacks = plus(
      y,
      plus(after[0], whole).map(v => -v),
    )
    const wanted = whole.map((v, i) => v + alpha * lacks[i])
    const given = linear(h, found.output, d, stay)
    const error = given.map((v, i) => v - wanted[i])
    // At the minimum the error is orthogonal to all that stays, and to the bias.
    for (const column of [...stay, undefined])
      for (let o = 0; o < d; o++) {
        let [product, size] = [0, 0]
        for (let t = 0; t < tokens; t++) {
          const value = column === undefined ? 1 : h[t * width + column]
          product += value * error[t * d + o]
          size += Math.abs(value * wanted[t * d + o])
        }
        expect(Math.abs(product)).toBeLessThan(1e-4 * Math.max(1, size))
      }
    const energy = (of: Float64Array) => of.reduce((sum, v) => sum + v * v, 0)
    const bare = whole.map((v, i) => v - ffn.output.bias![i % d])
    expect(found.errorAfter / (energy(error) / energy(bare))).toBeCloseTo(1, 3)
    await stream.advance(ffn, found.pruned, hidden)
    expectSame(await rowsOf(stream), plus(after[0], given))
  }
})

const windows = asWindows([0, 1].map(w => Array.from({ length: 48 }, (_, i) => (3 * i * i + 7 * w) % 40)))
const model = madeModel({ ...CONFIG, use_parallel_residual: true }, 6)

test('what the dense model says of an FFN beside attention is of what both read', async () => {
  const { layers } = await finish(denseStatistics(memoryContext(engine), model, windows))
  const table = await model.checkpoint.tensors.float32('gpt_neox.embed_in.weight')
  const x = Float32Array.from(
    windows.windows.flatMap(ids => [...ids].flatMap(id => [...table.subarray(id * d, (id + 1) * d)])),
  )
  const h = hiddenOf(await readHalf(model, halfBlocks(model.architecture, 0)[1]), x)
  const mean = (j: number) => h.reduce((sum, v, i) => (i % width === j ? sum + v / tokens : sum), 0)
  expectSame(
    layers[0].ffn.mean,
    Array.from({ length: width }, (_, j) => mean(j)),
  )
})

test.each(['pruned', 'aligned'])(
  'windows held out have the error of those that are calibrated on, if they are the same: %s',
  async repair => {
    const [text] = windows.texts
    const all = { ...windows, heldOut: windows.windows, texts: [{ ...text, heldOut: windows.windows.length }] }
    const options = { sparsity: 0.3, method: `plain:scope=ffn+per-head:multiple=2:repair=${repair}`, heldOut: 2 }
    const { layers } = await finish(
      prune(prepare(model, options, { windows: all }), { engine, sink: new MemorySink() }),
    )
    for (const { attention, ffn } of layers)
      for (const half of [attention!, ffn!]) expect(half.heldOutError! / half.errorAfter).toBeCloseTo(1, 2)
  },
)

test('choices of one question, which share a window, have the likelihoods that they have alone', async () => {
  const [ids] = windows.windows
  const choices = [9, 13].map(end => Int32Array.from([...ids.subarray(0, 6), end, end + 1]))
  const questions = [choices.map(choice => ({ ids: choice, targets: 2 }))]
  const [found] = await finish(logLikelihoods(memoryContext(engine), model, questions))
  for (const [c, choice] of choices.entries()) {
    const rows = await logits(model, engine, choice)
    const logProbability = (t: number) => {
      const row = rows.subarray((t - 1) * 40, t * 40)
      return row[choice[t]] - Math.log(row.reduce((sum, v) => sum + Math.exp(v), 0))
    }
    expect(found[c]).toBeCloseTo(logProbability(6) + logProbability(7), 4)
  }
})
