import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { random } from '../../../test/random.ts'
import { openEngine } from '../../engine/engine.node.ts'
import { type Engine, values } from '../../engine/engine.ts'
import { HalfBlockRunner } from '../../forward/runner.ts'
import { Stream } from '../../forward/stream.ts'
import { halfBlocks } from '../../model/architecture.ts'
import { architectureOf } from '../../model/model.ts'
import { ActivationPool } from '../../output/activations.ts'
import { alignInputs } from './align.ts'

const config = JSON.parse(
  readFileSync(fileURLToPath(new URL('../../../assets/tiny-llama/config.json', import.meta.url)), 'utf8'),
)
const opened = openEngine()
afterAll(() => opened.close())
let held = 0
const engine: Engine = {
  ...opened,
  linalg: {
    ...opened.linalg,
    async factor(n, read) {
      const factor = await opened.linalg.factor(n, read)
      if (factor) held++
      return factor && { ...factor, drop: () => void held-- }
    },
  },
}

test('input layers turn by the map that takes the pruned rows closest to the dense ones, the part alpha of the way', async () => {
  const [d, tokens, alpha, damp, epsilon] = [8, 60, 0.5, 0.02, 1e-5]
  const a = architectureOf('made', {
    ...config,
    ...{ hidden_size: d, num_attention_heads: 2, num_key_value_heads: 2, head_dim: 4, rms_norm_eps: epsilon },
  })
  const runner = new HalfBlockRunner(engine, tokens)
  const [, ffn] = halfBlocks(a, 0)
  const [x, y, norm, weight] = [random(tokens * d, 1), random(tokens * d, 2), random(d, 3), random(3 * d, 4)]
  const batches = [
    { windows: 1, start: 0, tokens: 24 },
    { windows: 1, start: 24, tokens: 36 },
  ]
  const pool = new ActivationPool(Number.POSITIVE_INFINITY)
  const stream = async (data: Float32Array<ArrayBuffer>) => {
    return Stream.open({ engine, pool }, runner, batches, d, async batch =>
      data.subarray(batch.start * d, (batch.start + batch.tokens) * d),
    )
  }
  const identity = Float32Array.from({ length: d * d }, (_, i) => (i % (d + 1) === 0 ? 1 : 0))
  const weights = {
    half: ffn,
    norms: { before: { 'before.weight': values(norm, [d]) } },
    inputs: [{ weight: identity }, { weight }],
    output: { weight: new Float32Array(d) },
  }
  const dense = { stream: await stream(y), alpha }
  const { weights: turned, damp: taken } = await alignInputs(await stream(x), weights, dense, damp)

  const { inputs } = turned
  expect(taken).toBe(damp)

  const z = (i: number, j: number) => (inputs[0].weight[j * d + i] - Number(i === j)) / alpha // W' = (I + αZ)ᵀ of W = I
  const normed = (data: Float32Array, t: number) => {
    const row = data.subarray(t * d, (t + 1) * d)
    const scale = 1 / Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / d + epsilon)
    return Array.from(row, (v, i) => v * scale * norm[i])
  }
  const rows = Array.from({ length: tokens }, (_, t) => [normed(x, t), normed(y, t)])
  const energy = rows.reduce((sum, [row]) => sum + row.reduce((s, v) => s + v * v, 0), 0)
  const delta = (damp * energy) / d
  for (let i = 0; i < d; i++)
    for (let j = 0; j < d; j++) {
      // The normal equations: Xᵀ(Y − X − XZ) = δZ.
      let left = 0
      for (const [px, py] of rows) left += px[i] * (py[j] - px[j] - px.reduce((sum, v, k) => sum + v * z(k, j), 0))
      expect(left).toBeCloseTo(delta * z(i, j), 3)
    }
  for (let o = 0; o < 3; o++)
    for (let i = 0; i < d; i++) {
      let turned = weight[o * d + i]
      for (let j = 0; j < d; j++) turned += alpha * weight[o * d + j] * z(i, j)
      expect(inputs[1].weight[o * d + i]).toBeCloseTo(turned, 5)
    }
  // A channel that is dead in the norm takes some damping.
  const dead = {
    'before.weight': values(
      norm.map((v, i) => (i === 3 ? 0 : v)),
      [d],
    ),
  }
  const raised = await alignInputs(await stream(x), { ...weights, norms: { ...weights.norms, before: dead } }, dense, 0)
  expect(raised.damp).toBe(1e-8)
  expect(held).toBe(0) // on a device they are dropped
})
