import { expect, test } from 'vitest'
import { withoutWeights } from '../test/without-weights.ts'
import { findWorkload } from './bench/workloads.ts'
import type { Precision } from './engine/engine.ts'
import { describeModel } from './model/model.ts'
import type { PRESETS, PruneOptions } from './options.ts'
import { checkOptions, prepare, withWidths } from './run.ts'

test('tensors outside the layers that have no use are named; a tied head is not', () => {
  const model = describeModel(withoutWeights({}, ['score.weight', 'lm_head.weight']))
  const { notices } = prepare(model, { sparsity: 0.3 })
  expect(notices.filter(n => n.startsWith('Not copied'))).toEqual([
    'Not copied, as llama models have no use for them: score.weight.',
  ])
})

test('a plan with self-written text counts the whole model and its caches', () => {
  const model = describeModel(withoutWeights())
  const bytes = (source: 'self' | 'texts') => {
    const options = { sparsity: 0.3, samples: 64, seqLen: 512 }
    return prepare(model, options, source === 'texts' ? { texts: [] } : {}).plan.memoryBytes
  }
  // 64 sequences × 512 positions × 6 layers × 2 KV heads × 32 channels, keys and values, float32
  expect(bytes('self')).toBeGreaterThan(4 * 2 * 64 * 512 * 6 * 2 * 32 + 200e6)
  expect(bytes('texts')).toBeLessThan(bytes('self') + 100e6)
})

// Peaks of whole runs, as `fasp compare` and `fasp bench` measured them on a quantised file and on random bfloat16 weights, in MB.
test.for<
  [workload: string, preset: keyof typeof PRESETS, samples: number, seqLen: number, peak: number, products?: Precision]
>([
  ['smollm2', 'paper', 16, 1024, 555],
  ['smollm2', 'paper', 64, 1024, 1020],
  ['smollm2', 'stock', 16, 1024, 922],
  ['smollm2', 'stock', 64, 1024, 1349],
  ['smollm2', 'stock', 128, 512, 1416],
  ['smollm2', 'best', 16, 1024, 1158],
  ['smollm2', 'best', 64, 1024, 1642],
  ['smollm2', 'best', 128, 512, 1669],
  ['opt-125m', 'paper', 32, 2048, 1507],
  ['llama-7b-8', 'paper', 4, 512, 3410],
  ['smollm2', 'paper', 64, 1024, 1137, 'bf16'],
  ['smollm2', 'stock', 128, 512, 1420, 'bf16'],
  ['smollm2', 'best', 128, 512, 1826, 'bf16'],
  ['opt-125m', 'paper', 32, 2048, 1648, 'bf16'],
  ['llama-7b-8', 'paper', 4, 512, 3220, 'bf16'],
])('a plan foresees the memory of %s, %s, %i × %i tokens', ([workload, preset, samples, seqLen, peak, products]) => {
  const model = describeModel(withoutWeights({}, [], findWorkload(workload).config))
  const { plan } = prepare(model, { sparsity: 0.3, preset, samples, seqLen, products }, { texts: [] })
  const ratio = plan.memoryBytes / (peak * 1e6)
  expect(ratio).toBeGreaterThan(0.9)
  expect(ratio).toBeLessThan(1.25)
})

test('presets best and stock calibrate on short windows of text, as many as make the same tokens', () => {
  const model = describeModel(withoutWeights())
  const size = (options: Omit<PruneOptions, 'sparsity'>, texts?: []) => {
    const { samples, seqLen, heldOut } = prepare(model, { sparsity: 0.3, ...options }, { texts }).options
    return [samples, seqLen, heldOut]
  }
  const context = model.architecture.maxPositions
  expect(size({}, [])).toEqual([32, Math.min(1024, context), 2])
  expect(size({ preset: 'paper' }, [])).toEqual([32, Math.min(1024, context), 0])
  for (const preset of ['best', 'stock'] as const) {
    expect(size({ preset }, [])).toEqual([128, 512, 4])
    expect(size({ preset, seqLen: 100 }, [])).toEqual([656, 100, 21])
    expect(size({ preset, samples: 16, heldOut: 0 }, [])).toEqual([16, 512, 0])
    expect(size({ preset })).toEqual([64, 256, 2])
  }
})

test('options that contradict each other are refused', () => {
  const model = describeModel(withoutWeights())
  const options = { sparsity: 0.3, center: true, restore: false }
  expect(() => prepare(model, options)).toThrow(/center is a part of the restoration/)
  expect(() => checkOptions(options)).toThrow(/center is a part of the restoration/)
})

test('no restoration takes back what presets have for it, and what options take from a preset is no contradiction', () => {
  const model = describeModel(withoutWeights())
  const resolve = (options: Omit<PruneOptions, 'sparsity'>) => prepare(model, { sparsity: 0.3, ...options }).options
  const unrepaired = { score: 'column', allocate: 'uniform', target: 'pruned', inputs: 'kept', restore: false }
  for (const preset of ['paper', 'best', 'stock'] as const)
    expect(resolve({ preset, restore: false })).toMatchObject(unrepaired)
  for (const options of [{ scope: 'ffn' }, { allocate: 'uniform' }, { target: 'pruned' }, { alpha: 0 }] as const)
    expect(resolve({ preset: 'best', ...options })).toMatchObject(options)
  expect(resolve({ method: 'sleb', probeTokens: 64 }).probeTokens).toBe(64)
})

test('before there is a model, what some model takes is not refused', () => {
  for (const options of [{ center: true }, { seqLen: 1e6 }, { multiple: 1e6 }, { preset: 'best', seqLen: 0 }] as const)
    expect(() => checkOptions({ sparsity: 0.3, ...options }, { texts: [] })).not.toThrow()
  const model = describeModel(withoutWeights())
  expect(() => prepare(model, { sparsity: 0.3, center: true })).toThrow(/this model has none/)
  expect(() => prepare(model, { sparsity: 0.3, seqLen: 1e6 })).toThrow(/seq-len is 1000000; .* from 2 to 512/)
})

test('with the widths that allocation gave, only the plan is another', () => {
  const model = describeModel(withoutWeights())
  const run = prepare(model, { sparsity: 0.3, layout: 'compact' })
  const widths = run.plan.widths.after.map((of, layer) => ({ ...of, ffn: of.ffn - 16 * layer }))
  const { plan, ...rest } = withWidths(run, { widths })
  expect(plan.widths.after).toEqual(widths)
  expect(plan.sizes.parameters.stored).toBeLessThan(run.plan.sizes.parameters.stored)
  expect({ ...rest, plan: run.plan }).toEqual(run)
})
