import { expect, test } from 'vitest'
import { withoutWeights } from '../../test/without-weights.ts'
import { configOf } from '../../test/workloads.ts'
import type { Precision } from '../engine/engine.ts'
import { best, type MethodName, plain, sleb } from '../method/method.ts'
import { methodOf } from '../method/method-text.ts'
import { describeModel } from '../model/model.ts'
import { optionsOn, type PruneOptions, resolveOptions } from '../options/options.ts'
import { type CalibrationInput, type CalibrationSource, OWN_TEXT } from '../text/calibration.ts'
import type { TextShare } from '../text/windows.ts'
import { checkOptions, prepare, withWidths } from './run.ts'

test('tensors outside the layers that have no use are named; a tied head is not', () => {
  const model = describeModel(withoutWeights({}, ['score.weight', 'lm_head.weight']))
  const { notices } = prepare(model, { sparsity: 0.3 })
  expect(notices.filter(n => n.startsWith('Not copied'))).toEqual([
    'Not copied, as llama models have no use for them: score.weight.',
  ])
})

test('a plan with self-written text counts the whole model and its caches', () => {
  const model = describeModel(withoutWeights({ max_position_embeddings: 512 }))
  const bytes = (source: 'self' | 'texts') => {
    const options = { sparsity: 0.3, windows: 64, seqLen: 512 }
    return prepare(model, options, source === 'texts' ? { texts: [] } : {}).plan.memoryBytes
  }
  // 64 sequences × 512 positions × 6 layers × 2 KV heads × 32 channels, keys and values, float32
  expect(bytes('self')).toBeGreaterThan(4 * 2 * 64 * 512 * 6 * 2 * 32 + 200e6)
  expect(bytes('texts')).toBeLessThan(bytes('self') + 100e6)
})

// Peaks of whole runs, as `fasp compare` and bench/workload.mjs measured them on a quantised file and on random bfloat16 weights, in MB.
test.for<[workload: string, method: MethodName, windows: number, seqLen: number, peak: number, products?: Precision]>([
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
])('a plan foresees the memory of %s, %s, %i × %i tokens', ([workload, method, windows, seqLen, peak, products]) => {
  const model = describeModel(withoutWeights({}, [], configOf(workload)))
  const { plan } = prepare(model, { sparsity: 0.3, method, windows, seqLen, products }, { texts: [] })
  const ratio = plan.memoryBytes / (peak * 1e6)
  expect(ratio).toBeGreaterThan(0.9)
  expect(ratio).toBeLessThan(1.25)
})

test('methods best and stock calibrate on short windows, as many as make the same tokens', () => {
  const model = describeModel(withoutWeights({ max_position_embeddings: 512 }))
  const size = (options: Omit<PruneOptions, 'sparsity'>, texts?: []) => {
    const { windows, seqLen, heldOut } = prepare(model, { sparsity: 0.3, ...options }, { texts }).options
    return [windows, seqLen, heldOut]
  }
  const context = model.architecture.maxPositions
  expect(size({}, [])).toEqual(size({ method: 'stock' }, []))
  expect(size({ method: 'plain' }, [])).toEqual([32, Math.min(1024, context), 2])
  expect(size({ method: 'paper' }, [])).toEqual([32, Math.min(1024, context), 0])
  for (const method of ['best', 'stock']) {
    expect(size({ method }, [])).toEqual([128, 512, 4])
    expect(size({ method, seqLen: 100 }, [])).toEqual([656, 100, 21])
    expect(size({ method, windows: 16, heldOut: 0 }, [])).toEqual([16, 512, 0])
    expect(size({ method })).toEqual([72, 256, 8]) // 48 tokens for each of 384 neurons
    expect(size({ method, seqLen: 512 })).toEqual([36, 512, 4])
    const wide = describeModel(withoutWeights({}, [], configOf('smollm2')))
    expect(prepare(wide, { sparsity: 0.3, method }).options).toMatchObject({ windows: 256, seqLen: 256 })
  }
  expect(size({ method: 'plain' })).toEqual([64, 256, 2])
})

test('methods best and stock trust correlations of one text less, the less from few tokens for the width, as far as the user does not say', () => {
  const model = describeModel(withoutWeights({}, [], configOf('smollm2')))
  const on = (
    tokens: number,
    text: string,
    source: CalibrationSource = 'texts',
    calibration: CalibrationInput = { texts: [OWN_TEXT] },
  ) => {
    const method = methodOf(text)
    const before = resolveOptions({ sparsity: 0.2, method }, model.architecture, {})
    const after = optionsOn(tokens, { options: before, method, model, source, calibration })
    return after === before ? 'as it is' : [after.damp, after.alpha, after.score, after.shrinkage]
  }
  for (const method of ['best', 'stock']) {
    for (const many of [1e6, 65536, 49152]) expect(on(many, method)).toEqual([0.01, 0.2, 'eliminate', 0.5])
    expect(on(32768, method)).toEqual([0.01, 0.2, 'eliminate', 0.5])
    expect(on(16384, method)).toEqual([0.01, 0.2, 'eliminate', 0.75])
    expect(on(8192, method)).toEqual([0.08, 0.2, 'column', 0.875])
    expect(on(8192, `${method}:damp=0.03:alpha=0.4`)).toEqual([0.03, 0.4, 'column', 0.875])
    expect(on(65536, `${method}:score=eliminate:alpha=0.5`)).toEqual([0.01, 0.5, 'eliminate', 0])
    expect(on(8192, `${method}:score=eliminate`)).toEqual([0.08, 0.2, 'eliminate', 0])
  }
  const several = (tokens: number, text: string) => on(tokens, text, 'texts', { texts: [OWN_TEXT, OWN_TEXT] })
  for (const method of ['best', 'stock']) {
    expect(several(65536, method)).toEqual([0.01, 0.5, 'eliminate', 0])
    expect(several(32768, method)).toEqual([0.01, 0.25, 'eliminate', 0.5])
    expect(several(16384, method)).toEqual(on(16384, method))
    expect(several(65536, `${method}:score=column:alpha=0.3`)).toEqual([0.01, 0.3, 'column', 0])
    expect(several(8192, method)).toEqual(on(8192, method))
  }
  const made = (...texts: TextShare[]) => ({ windows: { seqLen: 512, windows: [], texts } })
  const share = { name: 'one', tokens: 65536, available: 128, used: 128 }
  expect(on(65536, 'best', 'windows', made(share))).toEqual([0.01, 0.2, 'eliminate', 0.5])
  expect(on(65536, 'best', 'windows', made(share, share))).toEqual([0.01, 0.5, 'eliminate', 0])
  expect(on(65536, 'stock', 'self')).toEqual([0.01, 0.2, 'column', 0.5])
  expect(on(65536, 'stock:score=eliminate', 'self')).toEqual([0.01, 0.2, 'eliminate', 0])
  expect(on(65536, 'best', 'self')).toEqual([0.01, 0.2, 'eliminate', 0.5])
  for (const method of ['plain', 'plain:score=eliminate', 'paper', 'osscar']) expect(on(1024, method)).toBe('as it is')
})

test('a method is the same from a program and from a text, and says so', () => {
  const model = describeModel(withoutWeights())
  const resolve = (method: PruneOptions['method']) => prepare(model, { sparsity: 0.3, method }).options
  const options = resolve('best:scope=ffn:repair=dense:alpha=0.25:probe-tokens=64')
  expect(resolve(best({ scope: 'ffn', repair: 'dense', alpha: 0.25, probeTokens: 64 }))).toEqual(options)
  expect(options).toMatchObject({ method: 'best:scope=ffn:repair=dense:alpha=0.25:probe-tokens=64' })
  expect(options).toMatchObject({ scope: 'ffn', allocate: 'sensitivity', target: 'dense', inputs: 'kept', alpha: 0.25 })
  expect(resolve(plain({ repair: 'none' }))).toMatchObject({
    method: 'plain:repair=none',
    restore: false,
    target: 'pruned',
  })
  expect(resolve(sleb({ probeTokens: 64 }))).toMatchObject({ probeTokens: 64, scope: 'layers', restore: false })
})

test('a model that normalises after its half-blocks aims at the dense stream as others do', () => {
  const model = describeModel(withoutWeights())
  const halves = model.architecture.halves.map(half => ({ ...half, norms: { afterSum: half.norms.before! } }))
  const after = { ...model, architecture: { ...model.architecture, halves } }
  for (const method of ['stock', 'plain:repair=aligned'])
    expect(prepare(after, { sparsity: 0.3, method }).options).toMatchObject({ target: 'dense', inputs: 'aligned' })
})

test('before there is a model, what some model takes is not refused', () => {
  for (const options of [
    { method: plain({ center: true, multiple: 1e6 }) },
    { seqLen: 1e6 },
    { method: 'best', seqLen: 0 },
  ])
    expect(() => checkOptions({ sparsity: 0.3, ...options }, { texts: [] })).not.toThrow()
  const model = describeModel(withoutWeights())
  expect(() => prepare(model, { sparsity: 0.3, method: plain({ center: true }) })).toThrow(/this model has none/)
  expect(() => prepare(model, { sparsity: 0.3, seqLen: 1e6 })).toThrow(/seq-len is 1000000; .* from 2 to 256/)
})

test('with the widths that allocation gave, only the plan is another', () => {
  const model = describeModel(withoutWeights())
  const run = prepare(model, { sparsity: 0.3, method: 'plain:layout=compact' })
  const widths = run.plan.widths.after.map((of, layer) => ({ ...of, ffn: of.ffn - 16 * layer }))
  const { plan, ...rest } = withWidths(run, { widths })
  expect(plan.widths.after).toEqual(widths)
  expect(plan.sizes.parameters.stored).toBeLessThan(run.plan.sizes.parameters.stored)
  expect({ ...rest, plan: run.plan }).toEqual(run)
})
