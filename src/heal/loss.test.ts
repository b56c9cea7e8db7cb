import { afterAll, expect, test } from 'vitest'
import { madeModel } from '../../test/model-shapes.ts'
import { random } from '../../test/random.ts'
import { openEngine } from '../engine/engine.node.ts'
import type { Floats } from '../formats/tensors.ts'
import { Head } from '../forward/head.ts'
import { divergenceFrom, type RowLoss, throughHead, topDivergenceFrom, topProbabilities } from './loss.ts'

const engine = openEngine()
afterAll(() => engine.close())

const [n, v, d] = [5, 37, 24]
const wanted = random(n * v, 1).map(logit => 4 * logit)
const logits = random(n * v, 2).map(logit => 4 * logit)
const rowsOf = async (first: number, rows: number) => wanted.subarray(first * v, (first + rows) * v)
const top = async (k: number) => topProbabilities(engine, wanted, v, k)
const topRows = (k: number) => topDivergenceFrom(engine, () => top(k), v)

async function found(loss: RowLoss, of = logits) {
  const gradient = new Float32Array(of.length)
  return { loss: await loss(0, of, 0.5, gradient), gradient }
}

const softmax = (of: Floats): number[] => {
  const exponentials = [...of].map(Math.exp)
  const total = exponentials.reduce((sum, e) => sum + e)
  return exponentials.map(e => e / total)
}

/** KL of the top k of a row and the rest, from the definition in float64. */
function definition(p: number[], q: number[], k: number): number {
  const order = p.map((_, i) => i).sort((i, j) => p[j] - p[i])
  const bucket = (of: number[]) => [
    ...order.slice(0, k).map(i => of[i]),
    order.slice(k).reduce((sum, i) => sum + of[i], 0),
  ]
  const [ps, qs] = [bucket(p), bucket(q)]
  return ps.reduce((sum, value, i) => sum + (value > 0 ? value * Math.log(value / qs[i]) : 0), 0)
}

test.each([1, 3, v - 1, v, 1024])(
  'KL of the top %i: its value by the definition, its gradient by differences',
  async k => {
    const { loss, gradient } = await found(topRows(k))
    let total = 0
    for (let row = 0; row < n; row++) {
      const [p, q] = [wanted, logits].map(all => all.subarray(row * v, (row + 1) * v))
      const ps = softmax(p)
      total += 0.5 * definition(ps, softmax(q), k)
      for (let i = 0; i < v; i++) {
        const at = (step: number) =>
          definition(ps, softmax(Float32Array.from(q, (z, j) => (i === j ? z + step : z))), k)
        expect(gradient[row * v + i]).toBeCloseTo((0.5 * (at(0.01) - at(-0.01))) / 0.02, 4)
      }
    }
    expect(loss).toBeCloseTo(total, 5)
  },
)

test('KL of all tokens as of the whole distribution', async () => {
  const [whole, all] = [await found(divergenceFrom(engine, rowsOf, v)), await found(topRows(v))]
  expect(all.loss).toBeCloseTo(whole.loss, 5)
  for (const [i, g] of whole.gradient.entries()) expect(all.gradient[i]).toBeCloseTo(g, 6)
})

test('certain tokens and impossible ones have finite losses', async () => {
  const certain = Float32Array.from({ length: n * v }, (_, i) => (i % v === 0 ? 500 : 0))
  const opposite = Float32Array.from(certain, logit => -logit)
  const loss = topDivergenceFrom(engine, () => topProbabilities(engine, certain, v, 3), v)
  const { loss: none, gradient: still } = await found(loss, certain)
  expect(none).toBeCloseTo(0, 6)
  expect(Math.max(...still.map(Math.abs))).toBeLessThan(1e-6)
  const { loss: large, gradient } = await found(loss, opposite)
  expect(large).toBeGreaterThan(1000)
  expect(gradient[0]).toBeCloseTo(-0.5, 6)
  expect(gradient.every(Number.isFinite)).toBe(true)
})

test.each(['llama', 'opt'])('heads whose table is read in parts give the same: %s', async model_type => {
  const sizes = { vocab_size: v, hidden_size: d, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 8 }
  const others = { max_position_embeddings: 64, ffn_dim: 8, word_embed_proj_dim: 20, tie_word_embeddings: true }
  const model = madeModel({ model_type, ...sizes, ...others }, 3)
  const x = random(n * d, 4)
  const through = async (parts?: { readonly held: number; readonly part: number }) =>
    throughHead(await Head.open(model, engine, undefined, parts), divergenceFrom(engine, rowsOf, v))(0, x, 1)
  const [whole, parts] = [await through(), await through({ held: 0, part: 4 * d * 10 })]
  expect(parts.loss).toBeCloseTo(whole.loss, 5)
  expect(Math.max(...whole.dx.data.map(Math.abs))).toBeGreaterThan(0.01)
  for (const [i, g] of whole.dx.data.entries()) expect(parts.dx.data[i]).toBeCloseTo(g, 5)
})
