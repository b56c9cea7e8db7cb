import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { findWorkload } from '../bench/workloads.ts'
import { calibrationSource } from '../calibrate/calibration.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import type { Precision } from '../engine/engine.ts'
import { UnsupportedModelError } from '../errors.ts'
import type { TensorInfo } from '../formats/tensors.ts'
import { planNotices } from '../notices.ts'
import { type PRESETS, type PruneOptions, resolveOptions } from '../options.ts'
import { makePlan } from '../plan.ts'
import { tensorShapes } from './architecture.ts'
import { architectureOf, describeModel } from './model.ts'

const config = JSON.parse(
  readFileSync(fileURLToPath(new URL('../../assets/tiny-llama/config.json', import.meta.url)), 'utf8'),
)

/** A checkpoint of the right shapes without any weights. */
function checkpoint(changes: object = {}, more: readonly string[] = [], base = config): Checkpoint {
  const tensors = new Map<string, TensorInfo>()
  for (const [name, shape] of tensorShapes(architectureOf('made', base)))
    tensors.set(name, { name, shape, dtype: 'BF16' })
  for (const name of more) tensors.set(name, { name, shape: [1], dtype: 'BF16' })
  const none = () => Promise.reject(new Error('no weights here'))
  return {
    name: 'made',
    format: 'huggingface',
    config: { ...base, ...changes },
    tensors: { tensors, bytes: none, float32: none, rows: none, close: async () => {} },
    tokenizer: {},
    tokenizerConfig: {},
    sideFiles: [],
    weightBytes: 0,
    close: async () => {},
  }
}

test('tensors inside a layer that the architecture does not have mean another model', () => {
  const foreign = checkpoint({}, ['model.layers.0.self_attn.q_norm.weight'])
  expect(() => describeModel(foreign)).toThrow(/q_norm.weight is no part of a llama layer .* Is model_type right/)
})

test('whole numbers are no weights', () => {
  const model = checkpoint()
  const name = 'model.embed_tokens.weight'
  const tensors = new Map(model.tensors.tensors)
  for (const dtype of ['I8', 'I16', 'I64', 'U8', 'BOOL'] as const) {
    tensors.set(name, { ...tensors.get(name)!, dtype })
    const changed = { ...model, tensors: { ...model.tensors, tensors } }
    expect(() => describeModel(changed)).toThrow(`${name} is of type ${dtype}; weights are floating-point`)
  }
})

test.each<[object, string]>([
  [{ rms_norm_eps: 1e300 }, '"rms_norm_eps" is 1e+300; it must be a number from 1e-20 to 1000000000000'],
  [{ rms_norm_eps: 1e-300 }, 'it must be a number from'],
  [{ rope_parameters: null, rope_theta: 1e30 }, '"rope_theta" is 1e+30'],
  [{ rope_parameters: { rope_type: 'linear', factor: 1e21 } }, '"factor" is 1e+21'],
  [{ rope_parameters: { rope_type: { toString: 0 } } }, 'rope type an object is not supported'],
  [{ head_dim: 2 ** 24 }, '"head_dim" is 16777216; it must be an integer from 1 to 16384'],
  [{ hidden_size: { toString: 0 } }, '"hidden_size" is an object; it must be'],
  [{ model_type: { toString: 0 } }, 'model_type an object is not supported'],
])('a config with %j is refused', (changes, problem) => {
  expect(() => describeModel(checkpoint(changes))).toThrow(UnsupportedModelError)
  expect(() => describeModel(checkpoint(changes))).toThrow(problem)
})

test('a quantised folder is refused', () => {
  expect(() => describeModel(checkpoint({ quantization_config: { load_in_4bit: true } }))).toThrow(
    /quantization_config/,
  )
})

test('tensors outside the layers that have no use are named; a tied head is not', () => {
  const model = describeModel(checkpoint({}, ['score.weight', 'lm_head.weight']))
  const options = resolveOptions({ sparsity: 0.3 }, model.architecture, {})
  const source = calibrationSource({})
  const notices = planNotices(model, options, source, makePlan(model, options, source))
  expect(notices.filter(n => n.startsWith('Not copied'))).toEqual([
    'Not copied, as llama models have no use for them: score.weight.',
  ])
})

test('a plan with self-written text counts the whole model and its caches', () => {
  const model = describeModel(checkpoint())
  const self = resolveOptions({ sparsity: 0.3, samples: 64, seqLen: 512 }, model.architecture, {})
  const bytes = (source: 'self' | 'texts') => makePlan(model, self, source).memoryBytes
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
  const model = describeModel(checkpoint({}, [], findWorkload(workload).config))
  const options = resolveOptions({ sparsity: 0.3, preset, samples, seqLen, products }, model.architecture, {})
  const ratio = makePlan(model, options, 'texts').memoryBytes / (peak * 1e6)
  expect(ratio).toBeGreaterThan(0.9)
  expect(ratio).toBeLessThan(1.25)
})

test('presets best and stock calibrate on short windows of text, as many as make the same tokens', () => {
  const { architecture } = describeModel(checkpoint())
  const size = (options: Omit<PruneOptions, 'sparsity'>, texts?: []) => {
    const { samples, seqLen, heldOut } = resolveOptions({ sparsity: 0.3, ...options }, architecture, { texts })
    return [samples, seqLen, heldOut]
  }
  const context = architecture.maxPositions
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
  const model = describeModel(checkpoint())
  expect(() => resolveOptions({ sparsity: 0.3, center: true, restore: false }, model.architecture, {})).toThrow(
    /center is a part of the restoration/,
  )
})

test('no restoration takes back what presets have for it, and what options take from a preset is no contradiction', () => {
  const { architecture } = describeModel(checkpoint())
  const resolve = (options: Omit<PruneOptions, 'sparsity'>) =>
    resolveOptions({ sparsity: 0.3, ...options }, architecture, {})
  const unrepaired = { score: 'column', allocate: 'uniform', target: 'pruned', inputs: 'kept', restore: false }
  for (const preset of ['paper', 'best', 'stock'] as const)
    expect(resolve({ preset, restore: false })).toMatchObject(unrepaired)
  for (const options of [{ scope: 'ffn' }, { allocate: 'uniform' }, { target: 'pruned' }, { alpha: 0 }] as const)
    expect(resolve({ preset: 'best', ...options })).toMatchObject(options)
  expect(resolve({ method: 'sleb', probeTokens: 64 }).probeTokens).toBe(64)
})
