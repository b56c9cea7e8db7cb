import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { random } from '../../../test/random.ts'
import { floatSource } from '../../checkpoint/float-source.ts'
import { openHuggingFace } from '../../checkpoint/huggingface.node.ts'
import { openEngine } from '../../engine/engine.node.ts'
import { type HalfWeights, readHalf } from '../../forward/weights.ts'
import { logits } from '../../index.ts'
import { attentionHalves, tensorShapes } from '../../model/architecture.ts'
import { columnsOfRows } from '../../model/coupling.ts'
import { hiddenWidth } from '../../model/half-block.ts'
import { architectureOf, describeModel, type Model } from '../../model/model.ts'
import { restoreColumns } from '../restore/least-squares.ts'
import type { Statistics } from '../statistics/gram.ts'
import { rotateValues, unrotateOutput } from './rotate.ts'

const engine = openEngine()
const checkpoint = await openHuggingFace(fileURLToPath(new URL('../../../assets/tiny-llama', import.meta.url)))
const llama = describeModel(checkpoint)
afterAll(async () => {
  await engine.close()
  await checkpoint.close()
})

/** Statistics of `tokens` random activations, of unequal size and dependent on each other. */
function made(width: number, tokens: number, seed: number): Statistics {
  const h = random(tokens * width, seed)
  for (let t = 0; t < tokens; t++)
    for (let j = 1; j < width; j++)
      h[t * width + j] = h[t * width + j] / (1 + (j % 7)) + (j % 3) * 0.3 * h[t * width + j - 1]
  const gram = new Float32Array(width * width)
  const mean = new Float64Array(width)
  for (let i = 0; i < width; i++) {
    for (let j = 0; j < width; j++) {
      let sum = 0
      for (let t = 0; t < tokens; t++) sum += h[t * width + i] * h[t * width + j]
      gram[i * width + j] = sum
    }
    for (let t = 0; t < tokens; t++) mean[i] += h[t * width + i] / tokens
  }
  return { width, tokens, gram, mean }
}

const largest = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((worst, v, i) => Math.max(worst, Math.abs(v - b[i])), 0)

test('a rotation of all value channels changes no logit', async () => {
  const a = llama.architecture
  const changed = new Map<string, Float32Array<ArrayBuffer>>()
  for (const half of attentionHalves(a)) {
    const weights = await readHalf(llama, half)
    const turned = (await rotateValues(engine, half, weights, made(hiddenWidth(half), 300, half.layer))).weights
    expect(largest(turned.inputs[2].weight, weights.inputs[2].weight)).toBeGreaterThan(0.01)
    changed.set(`${half.inputs[2].name}.weight`, turned.inputs[2].weight)
    changed.set(`${half.output.name}.weight`, turned.output.weight)
  }
  const { tensors } = checkpoint
  const turned = floatSource(tensorShapes(a), async name => changed.get(name) ?? tensors.float32(name))
  const model: Model = { ...llama, checkpoint: { ...checkpoint, tensors: turned } }
  const ids = Int32Array.from({ length: 40 }, (_, i) => (i * 37) % 1024)
  expect(largest(await logits(model, engine, ids), await logits(llama, engine, ids))).toBeLessThan(1e-4)
})

/** The first attention of a LLaMA of these sizes. */
const ofHeads = (sizes: object) => attentionHalves(architectureOf('made', { ...llama.checkpoint.config, ...sizes }))[0]

describe.each([
  ['one query head per KV head', 4],
  ['grouped queries', 2],
])('%s', (_, kvHeads) => {
  const half = ofHeads({ hidden_size: 24, num_attention_heads: 4, num_key_value_heads: kvHeads, head_dim: 8 })
  const linear = (out: number, width: number, seed: number) => ({
    weight: random(out * width, seed),
    bias: random(out, seed + 1),
  })
  const weights: HalfWeights = {
    half,
    norms: {},
    inputs: [linear(32, 24, 1), linear(8 * kvHeads, 24, 3), linear(8 * kvHeads, 24, 5)],
    output: linear(24, 32, 7),
  }
  const statistics = made(32, 200, 9)

  test('bases are orthonormal, scores descend in each head, and the way back is exact', async () => {
    const rotated = await rotateValues(engine, half, weights, statistics)
    for (const { data } of rotated.bases)
      for (let i = 0; i < 8; i++)
        for (let j = 0; j < 8; j++) {
          const product = Array.from({ length: 8 }, (_, c) => data[i * 8 + c] * data[j * 8 + c])
          expect(product.reduce((x, y) => x + y)).toBeCloseTo(i === j ? 1 : 0, 12)
        }
    for (let row = 1; row < rotated.scores.length; row++)
      if (row % 8 > 0) expect(rotated.scores[row]).toBeLessThanOrEqual(rotated.scores[row - 1])
    const { output, columns } = await unrotateOutput(engine, half, rotated, rotated.weights.output)
    expect(largest(output.weight, weights.output.weight)).toBeLessThan(1e-6)
    expect(columns).toHaveLength(32)
    const trace = (g: ArrayLike<number>) =>
      Array.from({ length: 32 }, (_, i) => g[i * 33]).reduce((sum, v) => sum + v, 0)
    expect(trace(rotated.statistics.gram) / trace(statistics.gram)).toBeCloseTo(1, 6)
  })

  test('statistics are those of the turned activations', async () => {
    // Two tokens' activations as rows of the Gram matrix of one: G = h hᵀ, mean h, cross h dᵀ.
    const h = random(32, 11)
    const gap = { mean: new Float64Array(24), energy: 1, cross: new Float32Array(32 * 24) }
    const gram = new Float32Array(32 * 32)
    for (let i = 0; i < 32; i++) {
      for (let j = 0; j < 32; j++) gram[i * 32 + j] = h[i] * h[j]
      for (let o = 0; o < 24; o++) gap.cross[i * 24 + o] = h[i] * (o - 10)
    }
    const one = { width: 32, tokens: 1, gram, mean: Float64Array.from(h), gap }
    const { bases, statistics: turned } = await rotateValues(engine, half, weights, one)
    const t = Array.from({ length: 32 }, (_, i) => {
      const head = Math.floor(i / 8)
      const { data } = bases[Math.floor((head * kvHeads) / 4)]
      return Array.from({ length: 8 }, (_, c) => data[(i % 8) * 8 + c] * h[head * 8 + c]).reduce((x, y) => x + y)
    })
    expect(largest(turned.mean, t)).toBeLessThan(1e-6)
    expect(
      largest(
        turned.gram,
        Array.from({ length: 1024 }, (_, i) => t[Math.floor(i / 32)] * t[i % 32]),
      ),
    ).toBeLessThan(1e-5)
    expect(
      largest(
        turned.gap!.cross,
        Array.from({ length: 768 }, (_, i) => t[Math.floor(i / 24)] * ((i % 24) - 10)),
      ),
    ).toBeLessThan(1e-5)
  })

  /** Error of the layer's output where each KV head keeps its first `k` channels, others zero, repaired. */
  async function error(k: number, gram: Float32Array<ArrayBuffer>, output: Float32Array<ArrayBuffer>, keep = first(k)) {
    const columns = columnsOfRows(half, keep)
    const options = { damp: 0, center: false, restore: true, layer: 'made' }
    const given = { ...statistics, gram }
    return (await restoreColumns(engine, { weight: output }, given, columns, options)).errorAfter
  }
  const first = (k: number) => Int32Array.from({ length: k * kvHeads }, (_, i) => Math.floor(i / k) * 8 + (i % k))

  test('every rank loses less than channels of the old basis', async () => {
    const { weights: w, statistics: s } = await rotateValues(engine, half, weights, statistics)
    const plain = (k: number) => Int32Array.from({ length: k * kvHeads }, (_, i) => Math.floor(i / k) * 8 + 7 - (i % k))
    for (const k of [1, 2, 4, 6, 7]) {
      const turned = await error(k, s.gram, w.output.weight)
      expect(turned).toBeLessThan(await error(k, statistics.gram, weights.output.weight))
      expect(turned).toBeLessThan(await error(k, statistics.gram, weights.output.weight, plain(k).sort()))
    }
  })

  if (kvHeads === 4)
    test('without correlation between heads the scores are the errors (Eckart & Young)', async () => {
      const gram = statistics.gram.map((v, i) => (Math.floor(i / 32 / 8) === Math.floor((i % 32) / 8) ? v : 0))
      const { scores, weights: w, statistics: s } = await rotateValues(engine, half, weights, { ...statistics, gram })
      const all = scores.reduce((sum, v) => sum + v, 0)
      for (const k of [1, 3, 5, 7]) {
        const lost = scores.reduce((sum, v, row) => (row % 8 < k ? sum : sum + v), 0)
        expect(await error(k, s.gram, w.output.weight)).toBeCloseTo(lost / all, 4)
      }
    })
})

test('activations that are all zero give some basis', async () => {
  const half = ofHeads({ hidden_size: 6, num_attention_heads: 2, num_key_value_heads: 1, head_dim: 4 })
  const zero = { ...made(8, 4, 1), gram: new Float32Array(64) }
  const linear = (out: number, width: number) => ({ weight: random(out * width, 1) })
  const inputs = [linear(8, 6), linear(4, 6), linear(4, 6)]
  const weights = { half, norms: {}, inputs, output: linear(6, 8) }
  const { bases, scores } = await rotateValues(engine, half, weights, zero)
  expect([...scores].every(Number.isFinite)).toBe(true)
  expect(bases[0].data.every(Number.isFinite)).toBe(true)
})
