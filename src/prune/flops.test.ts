import { expect, test } from 'vitest'
import { configOf } from '../../test/workloads.ts'
import { total } from '../base/clock.ts'
import { architectureOf } from '../model/model.ts'
import { distanceFlops, passFlops, repairFlops, runFlops } from './flops.ts'

const architecture = (name: string) => architectureOf(name, configOf(name))

test('one pass of SmolLM2-135M, by hand', () => {
  const flops = passFlops(architecture('smollm2'), 64 * 1024, 1024)
  const tokens = 64 * 1024 * 30 // through every layer
  // q 576 → 576, k and v 576 → 192; scores and sums: 2 · 2 · 1024 · 576, causal half of it
  expect(flops.attention).toBe(tokens * (2 * 576 * (576 + 192 + 192) + 2 * 1024 * 576))
  expect(flops.ffn).toBe(tokens * 2 * 2 * 576 * 1536)
  expect(flops.gram).toBe(tokens * (576 ** 2 + 1536 ** 2))
  expect(flops.residual).toBe(tokens * 2 * 576 * (576 + 1536))
  expect(total(flops) / 1e12).toBeCloseTo(21.5, 1)
})

test('OPT has one input layer in its FFN and a value head for each query head', () => {
  const flops = passFlops(architecture('opt-125m'), 1, 2048)
  expect(flops).toEqual({
    attention: 12 * (2 * 768 * 3 * 768 + 2 * 2048 * 768),
    ffn: 12 * 2 * 768 * 3072,
    gram: 12 * (768 ** 2 + 3072 ** 2),
    residual: 12 * 2 * 768 * (768 + 3072),
  })
})

test('repairs: value rows count once for each query head that shares them', () => {
  const half = (kept: number) => ({ kept: new Array<number>(kept).fill(0), errorBefore: 0, errorAfter: 0, damp: 0 })
  const flops = repairFlops(architecture('smollm2'), [{ attention: half(100), ffn: half(1000) }, { ffn: half(500) }])
  const solve = (m: number) => m ** 3 / 3 + 2 * m ** 2 * 576
  expect(flops.gemm64).toBeCloseTo(solve(300) + solve(1000) + solve(500), 0)
  const product = (width: number, m: number) => 2 * 576 * (width - m) * m
  const energy = (width: number, m: number) => 576 * (m ** 2 + (width - m) ** 2)
  expect(flops.product).toBe(product(576, 300) + product(1536, 1000) + product(1536, 500))
  expect(flops.energy).toBe(energy(576, 300) + energy(1536, 1000) + energy(1536, 500))
})

test('work of a run before it begins: two streams, losses and the repairs, a third where the model writes its text', () => {
  const a = architecture('opt-125m')
  const [ffn, value] = [2000, 64]
  const before = { ffn: 3072, value: 64, kvHeads: 12 }
  const plan = { widths: { before, after: new Array(12).fill({ ffn, value }) } }
  const options = { windows: 6, heldOut: 2, seqLen: 128 }
  const given = runFlops(a, plan, options, false)
  const { gram, ...pass } = passFlops(a, 8 * 128, 128)
  const layer = { ffn: { kept: { length: ffn } } }
  const { gemm64, ...repairs } = repairFlops(a, new Array(12).fill(layer))
  expect(given.float64).toBe(gemm64)
  const losses = 2 * 2 * (2 * 128) * 768 * a.vocabularySize // of both models, on what is held out
  expect(given.float32).toBeCloseTo(2 * total(pass) + gram + total(repairs) + losses, -3)
  const own = runFlops(a, plan, options, true)
  expect(own.float32 - given.float32).toBeCloseTo(total(pass) + 2 * 8 * 128 * 768 * a.vocabularySize, -3)
})

test('work of the distance on what is held out: a pass of both models, logits of one and of both', () => {
  const a = architecture('smollm2')
  const { gram: _, ...pass } = passFlops(a, 16 * 128, 128)
  const logits = 2 * (16 * 128) * 576 * 49152
  expect(distanceFlops(a, { heldOut: 16, seqLen: 128 })).toBeCloseTo(2 * total(pass) + 3 * logits, -3)
  expect(distanceFlops(a, { heldOut: 0, seqLen: 128 })).toBe(0)
})
