// Half-blocks with a norm after the output layer (src/forward/observation.ts): restored as the least squares solved directly in PyTorch are
// (test/fixtures/norms/make.py), with errors that are those of what the norm gives.
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { memorySource } from '../src/base/bytes.ts'
import { type Engine, values } from '../src/engine/engine.ts'
import { openSafetensors } from '../src/formats/safetensors.ts'
import { HalfBlockRunner } from '../src/forward/runner.ts'
import { Stream } from '../src/forward/stream.ts'
import type { HalfWeights } from '../src/forward/weights.ts'
import { cut } from '../src/method/cut.ts'
import { keepAll, selectKept } from '../src/method/select/selection.ts'
import { observe } from '../src/method/statistics/observe.ts'
import type { FfnHalf, Norm } from '../src/model/half-block.ts'
import { logits, MemorySink, type Model } from '../src/node.ts'
import { ActivationPool } from '../src/output/activations.ts'
import { prune } from '../src/prune/prune.ts'
import { prepare } from '../src/prune/run.ts'
import { ownMemories } from './devices.ts'
import { finish } from './finish.ts'
import { madeModel } from './model-shapes.ts'
import { expectNear } from './near.ts'
import { random } from './random.ts'

interface Case {
  readonly name: string
  readonly role: 'after' | 'afterSum'
  readonly type: Norm['type']
  readonly before: boolean
  readonly bias: boolean
  readonly center: boolean
  readonly expected: {
    readonly kept: readonly number[]
    readonly weight: readonly number[]
    readonly bias: readonly number[] | null
    readonly errorBefore: number
    readonly errorAfter: number
  }
}

const oracle: { sizes: Record<string, number>; cases: Case[] } = JSON.parse(
  readFileSync(fileURLToPath(new URL('fixtures/norms/oracle.json', import.meta.url)), 'utf8'),
)
const { d, width, tokens, alpha, damp, epsilon } = oracle.sizes
/** Of float32, in numbers of 1 to 20. */
const TOLERANCE = 1e-4

const engines = Object.entries(ownMemories())

/** The half-block of a case, and both streams before it, in two batches. */
async function made(engine: Engine, { role, type, before, bias }: Case) {
  const norm = (name: string): Norm => ({ name, type, size: d, epsilon, affine: true })
  const half: FfnHalf = {
    ...{ kind: 'ffn', layer: 0, activation: 'relu', coupled: [0] },
    norms: { ...(before && { before: norm('before') }), [role]: norm(role) },
    inputs: [{ name: 'in', out: width, in: d, bias }],
    output: { name: 'out', out: d, in: width, bias },
  }
  const of = (name: string, gamma: Float32Array, seed: number) => ({
    [`${name}.weight`]: values(gamma as Float32Array<ArrayBuffer>, [d]),
    ...(type === 'layer' && { [`${name}.bias`]: values(random(d, seed), [d]) }),
  })
  const gamma = random(d, 1)
  gamma[3] = 0
  const weights: HalfWeights = {
    half,
    norms: { ...(before && { before: of('before', random(d, 7), 8) }), [role]: of(role, gamma, 2) },
    inputs: [{ weight: random(width * d, 3), bias: bias ? random(width, 5) : undefined }],
    output: { weight: random(d * width, 4), bias: bias ? random(d, 6) : undefined },
  }
  const runner = new HalfBlockRunner(engine, tokens)
  const pool = new ActivationPool(Number.POSITIVE_INFINITY, undefined, engine.array)
  const batches = [
    { windows: 1, start: 0, tokens: 50 },
    { windows: 1, start: 50, tokens: tokens - 50 },
  ]
  const stream = (seed: number) => {
    const rows = random(tokens * d, seed)
    const fill = async ({ start, tokens: n }: (typeof batches)[0]) => rows.subarray(start * d, (start + n) * d)
    return Stream.open({ engine, pool }, runner, batches, d, fill)
  }
  return { weights, stream: await stream(9), dense: await stream(10) }
}

function expectClose(found: ArrayLike<number>, wanted: readonly number[]) {
  expect(found.length).toBe(wanted.length)
  for (const [i, w] of wanted.entries())
    expect(Math.abs(found[i] - w)).toBeLessThan(TOLERANCE * Math.max(1, Math.abs(w)))
}

const cases = engines.flatMap(([place, engine]) => oracle.cases.map(c => [c.name, place, engine, c] as const))
describe.each(cases)('%s, %s', (_, __, engine, of) => {
  const options = { damp, center: of.center, restore: true }
  const selecting = { ...options, scope: 'ffn', score: 'column', vo: 'ragged', shrinkage: 0, seed: 0 } as const

  test('what stays is what least squares of the norm’s output give', async () => {
    const { weights, stream, dense } = await made(engine, of)
    const { statistics, hidden } = await observe(stream, weights, { stream: dense, alpha, weights })
    await hidden.close()
    const keep = { ffn: of.expected.kept.length, value: 0 }
    const found = await cut(
      engine,
      { weights, statistics },
      {
        ...{ rotate: false, restore: options, round: output => output },
        select: seen => selectKept(engine, seen, keep, selecting),
      },
    )
    const { kept, weight, bias, errorBefore, errorAfter } = of.expected
    expect([...found.selected.kept]).toEqual(kept)
    expectClose(found.output.weight, weight)
    expectClose(found.output.bias ?? [], bias ?? [])
    expectNear(found.errorBefore, errorBefore, 1e-4)
    expectNear(found.errorAfter, errorAfter, 1e-4)
  })

  if (engine.moved)
    test('no rows come back from a device', async () => {
      const { weights, stream, dense } = await made(engine, of)
      const before = engine.moved!.fromDevice
      const { hidden } = await observe(stream, weights, { stream: dense, alpha, weights })
      const sums = width * width + 2 * width * d // G, Hᵀz, W G
      const perBatch = width + 1 + d + 1 // Σ H, Σ r², Σ z, ‖z‖²
      expect(engine.moved!.fromDevice - before).toBe(4 * (sums + 2 * perBatch))
      await hidden.close()
    })

  test('what keeps all columns stays as it is, to the bit', async () => {
    const { weights, stream } = await made(engine, of)
    const { statistics, hidden } = await observe(stream, weights)
    const { output, pruned, errorAfter } = await cut(
      engine,
      { weights, statistics },
      {
        ...{ rotate: false, restore: options, round: output => output },
        select: async () => keepAll(weights.half),
      },
    )
    expect(output).toEqual(weights.output)
    expect(errorAfter).toBe(0)
    const { stream: other } = await made(engine, of)
    await other.through(weights)
    await stream.advance(weights, pruned, hidden)
    const [rows, same] = [await stream.whole(), await other.whole()]
    for (const [i, v] of rows.entries()) expect(v).toBeCloseTo(same[i], 5)
  })
})

const SHAPE = {
  vocab_size: 40,
  hidden_size: 24,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  max_position_embeddings: 64,
}
const rows = [0, 1, 2, 3, 4, 5].map(w => Int32Array.from({ length: 48 }, (_, i) => (3 * i * i + 7 * w + w * i) % 40))
const text = { name: 'made', tokens: 0, available: rows.length, used: rows.length, heldOut: rows.length }
/** Held out is what is calibrated on: then both errors of a half-block are of the same tokens. */
const windows = { seqLen: 48, windows: rows, heldOut: rows, texts: [text] }

/** Llama's half-blocks with their norm after them, as OLMo 2 has it. */
function olmo(): Model {
  const model = madeModel({ ...SHAPE, model_type: 'llama', intermediate_size: 36, num_key_value_heads: 2 }, 1)
  const { architecture: a } = model
  const halves = a.halves.map(half => ({ ...half, norms: { after: half.norms.before! } }))
  return { ...model, architecture: { ...a, halves } }
}

const opt350m = () =>
  madeModel({ ...SHAPE, model_type: 'opt', ffn_dim: 36, word_embed_proj_dim: 20, do_layer_norm_before: false }, 2)

async function pruned(engine: Engine, model: Model, method: string) {
  const sink = new MemorySink()
  const run = prepare(model, { sparsity: 0.3, method, dtype: 'F32' }, { windows })
  const { layers } = await finish(prune(run, { engine, sink }))
  const tensors = await openSafetensors(memorySource(sink.files.get('model.safetensors')!))
  return { layers, tensors }
}

const models = { 'OLMo 2': olmo, 'opt-350m': opt350m }
describe.each(
  engines.flatMap(([place, engine]) =>
    Object.entries(models).map(([name, make]) => [name, place, engine, make] as const),
  ),
)('whole models: %s, %s', (name, _, engine, make) => {
  test.each([
    'stock:multiple=2',
    'best:multiple=2',
    'best:multiple=2:repair=dense',
    'plain:scope=ffn+ragged:repair=pruned:multiple=2',
    'flap',
    ...(name === 'opt-350m' ? ['plain:repair=dense:center:multiple=2'] : []),
  ])('errors that %s tells are those that are measured', async method => {
    const { layers } = await pruned(engine, make(), method)
    const halves = layers.flatMap(({ attention, ffn }) => [attention, ffn]).filter(half => half !== undefined)
    expect(halves.length).toBeGreaterThan(2)
    for (const { errorBefore, errorAfter, heldOutError } of halves) {
      expectNear(heldOutError!, errorAfter, 1e-3)
      if (method !== 'flap') expect(errorAfter).toBeLessThan(errorBefore)
    }
  })

  test('towards the dense stream, logits are nearer to those of the dense model', async () => {
    const model = make()
    const distance = async (method: string) => {
      const { tensors } = await pruned(engine, model, method)
      const after = { ...model, checkpoint: { ...model.checkpoint, tensors } } // all shapes stay
      let sum = 0
      for (const ids of rows) {
        const [ours, dense] = [await logits(after, engine, ids), await logits(model, engine, ids)]
        sum += ours.reduce((sum, v, i) => sum + (v - dense[i]) ** 2, 0)
      }
      return sum
    }
    const distances = []
    for (const repair of ['none', 'pruned', 'dense', 'aligned'])
      distances.push(await distance(`plain:layout=padded:repair=${repair}`))
    expect(distances).toEqual(distances.toSorted((a, b) => b - a))
    expect(distances[2]).toBeLessThan(0.8 * distances[1])
  })
})
