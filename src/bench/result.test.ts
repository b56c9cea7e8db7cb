import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { architectureOf } from '../model/model.ts'
import type { PruneResult } from '../result.ts'
import { summarise } from './result.ts'

const config = JSON.parse(readFileSync(new URL('../../assets/tiny-llama/config.json', import.meta.url), 'utf8'))

test.each([
  ['alone', { gemm64: 2 }, 'gemm64'],
  ['that was tried and kept', { gemm64: 2, trial: 0.01 }, 'gemm64'],
])('what is counted in float64 is held against all of its seconds: a host %s', (_, engineSeconds, solves) => {
  const a = architectureOf('made', config)
  const size = { name: 'made', windows: 1, seqLen: 64, tokens: 64, sparsity: 0.3 }
  const rates = (['float32', 'float64'] as const).map(type => ({ type, shape: [9, 9, 9] as const, gflops: 1 }))
  const layers = [{ ffn: { kept: new Array(100).fill(0) } }]
  const given = { layers, engineSeconds, outsideSeconds: {}, options: { memory: 1 }, seconds: {} }
  const result = given as unknown as PruneResult
  const { stages } = summarise(a, size, undefined, rates, { result, seconds: 3, layerSeconds: [1] })
  const counted = stages.filter(({ flops }) => flops !== undefined)
  const flops = 100 ** 3 / 3 + 2 * 100 ** 2 * config.hidden_size
  expect(counted).toEqual([{ kind: solves, seconds: 2, flops, gflops: flops / 2e9, ofPeak: flops / 2e9 }])
  expect(stages.find(({ kind }) => kind === 'trial')?.seconds).toBe('trial' in engineSeconds ? 0.01 : undefined)
})
